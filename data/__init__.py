"""Documents, chunks, embeddings, questions, RAFT examples, tokens and scoring: Python and NumPy, no JAX, no Prefect."""

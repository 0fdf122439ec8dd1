"""Open the models and documents of a run, and answer questions."""

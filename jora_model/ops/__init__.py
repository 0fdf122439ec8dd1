"""Matrix products, attention, rotary embeddings and dropout."""

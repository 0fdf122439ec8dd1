"""A trained model is opened and answers questions."""

"""A trained model behind HTTP and in the browser."""

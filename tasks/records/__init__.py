"""What runs did, and the models that they registered."""

"""Facts of a checkpoint, the user's settings, job files and the table of parameters."""

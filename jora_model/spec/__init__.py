"""Facts of a model, settings of a person, and the table of parameters."""

"""The transformer: its layers, its variables, and how they are loaded."""

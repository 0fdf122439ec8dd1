"""Packs token sequences into prefix tries, rows and tiles; NumPy arrays only."""

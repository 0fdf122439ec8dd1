"""Chunks become vectors and an index; a question finds the chunks nearest to it."""

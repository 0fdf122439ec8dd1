"""Artifacts on disk: written whole, named by content, verified, shared."""

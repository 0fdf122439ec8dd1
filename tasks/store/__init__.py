"""Artifacts on disk: written atomically, named by content, verified, shared between machines."""

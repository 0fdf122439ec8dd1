"""Meshes, processes and compiled programs."""

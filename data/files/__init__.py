"""JSON lines, whole files written by rename, and shelves of small records."""

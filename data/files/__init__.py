"""JSON lines, files written by rename, and caches of bytes by key."""

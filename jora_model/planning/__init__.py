"""What will fit: memory and FLOPs of a step that is compiled without weights."""

"""What a teacher model is asked for, and how its answers become questions."""

"""Matrix products, attention, rotary embeddings and dropout, and what only CPUs need (cpu.py)."""

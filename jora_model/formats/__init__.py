"""Reads and writes Hugging Face, PEFT and GGUF files."""

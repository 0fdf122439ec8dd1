"""Hugging Face, PEFT and GGUF files are read and written."""

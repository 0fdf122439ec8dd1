"""The model and its training in pure JAX: no Prefect, no torch, no word of prompts or datasets."""

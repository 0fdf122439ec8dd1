"""Generates answers to prompts: batched decoding, sampling, grammars and the jobs that use them."""

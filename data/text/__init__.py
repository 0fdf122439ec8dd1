"""Blocks, sentences, words and languages of texts, and whether a text supports an answer."""

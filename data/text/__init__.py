"""Sentences, words, languages, and which words of a text another one supports."""

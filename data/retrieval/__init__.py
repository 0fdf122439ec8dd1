"""Embeds and indexes chunks, and retrieves the chunks nearest to a question."""

"""Calls to an OpenAI-compatible server: budget, retries, and answers kept on disk."""

"""Contexts and questions become RAFT examples and Alpaca records."""

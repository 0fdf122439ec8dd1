"""Answers and retrieval get scores, intervals and causes of failure."""

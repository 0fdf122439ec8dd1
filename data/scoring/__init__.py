"""Scores of answers and of retrieval, their confidence intervals, and causes of failure."""

"""The pages that people read about a run."""

"""The `stage` decorator: cache keys, locks, retries, progress, and jobs in processes of their own."""

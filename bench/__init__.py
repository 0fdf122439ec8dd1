"""Benchmarks, each one command: `python -m bench.NAME`; the last lines are `figure NAME VALUE`."""

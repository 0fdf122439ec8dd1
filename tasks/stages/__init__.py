"""The stages of the pipeline: each opens artifacts, calls a library and writes an artifact."""

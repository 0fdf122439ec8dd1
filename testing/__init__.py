"""What tests, drills and benchmarks share: small models, corpora, runs and servers."""

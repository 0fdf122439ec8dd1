"""Question files are read, tied to the documents that prove their answers, and split by document."""

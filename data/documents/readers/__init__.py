"""Readers turn the bytes of a file into texts: one module per format, whose library is imported when it is used."""

"""Readers: the bytes of a file to texts. One module a format, each with its own library, imported when it is used."""

"""The command line `jora`."""

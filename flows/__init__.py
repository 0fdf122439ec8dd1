"""Flows compose stages; the command line `jora` starts them. No arithmetic here, and no loop over data."""

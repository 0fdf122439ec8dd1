"""Questions are kept or rejected, with the reason."""

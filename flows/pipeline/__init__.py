"""The stages in their order, the dry run, promotion, and one run at a time."""

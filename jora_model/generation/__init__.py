"""The engine that answers prompts."""

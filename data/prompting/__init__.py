"""The wording of all prompts, their tokens, and the parsing of answers."""

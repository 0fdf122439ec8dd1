"""The wording of all prompts, their tokens, and how an answer is read."""

"""The one exception for what a person did wrong; every package raises it, so it belongs to none of them."""


class UserError(ValueError):
    """A person's input cannot be used: one line that says what was given, what is allowed and what to do.

    Commands and jobs print that line and end with exit code 2. Any other exception is a fault of the code (or of the
    machine) and keeps its traceback.
    """

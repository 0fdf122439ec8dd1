"""The exceptions for what a person reads as one line; every package raises them, so they belong to none of them."""


class UserError(ValueError):
    """A person's input cannot be used: one line that says what was given, what is allowed and what to do.

    Commands and jobs print that line and end with exit code 2. Any other exception is a fault of the code (or of the
    machine) and keeps its traceback.
    """


class Unreachable(UserError):
    """A remote host does not answer, or not now; the same call may succeed later, so that stages try again."""

    transient = True

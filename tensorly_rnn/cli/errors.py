"""Errors that end a command with one line on standard error."""

#: Exit statuses: invalid request; files or machine failed.
MISTAKE, TROUBLE = 2, 1


class CommandError(Exception):
    """A message for the user, and the exit status."""

    def __init__(self, message: str, status: int = MISTAKE) -> None:
        super().__init__(message)
        self.status = status

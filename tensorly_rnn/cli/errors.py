"""What ends a command with one line on standard error."""

#: Exit statuses: what was asked for cannot be done; the machine would not do it.
MISTAKE, TROUBLE = 2, 1


class CommandError(Exception):
    """A message for the user, and the status to end with."""

    def __init__(self, message: str, status: int = MISTAKE) -> None:
        super().__init__(message)
        self.status = status


def words(reason: Exception) -> str:
    """Return the library's message without the name of a function that nobody called here."""
    _, colon, rest = str(reason).partition(": ")
    return rest if colon else str(reason)

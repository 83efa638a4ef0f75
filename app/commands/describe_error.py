"""Unexpected errors in one line that holds no secrets."""


def describe_error(error: Exception) -> str:
    """The words of the operating system, or else the name of the exception: its text may hold a secret."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return type(error).__name__

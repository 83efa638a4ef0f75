"""Unexpected errors in one line that holds no secrets."""

from dicomweb.errors import ProxyError


def describe_error(error: Exception) -> str:
    """The words of the system, or of our own errors, or else the name of the exception: its text may hold a secret."""
    if isinstance(error, ProxyError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return type(error).__name__

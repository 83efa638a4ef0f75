"""Users with a password, as the service and its clients know them."""

import base64
from pathlib import Path

import bcrypt

_PASSWORD = "geheim"  # noqa: S105 - a test's


def login(name: str) -> dict[str, str]:
    """The headers of a request of this user."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{_PASSWORD}".encode()).decode()}


def write_users(folder: Path, name: str = "anna") -> Path:
    """Write a file of users that has this one; its path."""
    path = folder / "users"
    path.write_text(f"{name}:{bcrypt.hashpw(_PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
    return path


ANNA = login("anna")

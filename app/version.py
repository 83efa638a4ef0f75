"""The version of the project. `pyproject.toml` and `CHANGELOG.md` have the same; a test compares them."""

VERSION = "0.2.0"

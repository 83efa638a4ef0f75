"""The columns of numbers that tie the tables of an index together: those of AWS's tables and of our own."""

from sqlalchemy import BigInteger, Column, ForeignKey, Integer

KEY = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only INTEGER keys
"""The type of these numbers."""


def key_column(table: str) -> Column[int]:
    """The primary key of a table, `<table>_pkey`."""
    return Column(f"{table}_pkey", KEY, primary_key=True, autoincrement=True)


def parent_column(table: str) -> Column[int]:
    """The key of the row of another table that a row belongs to, and is deleted with."""
    name = f"{table}_pkey"
    return Column(name, KEY, ForeignKey(f"{table}.{name}", ondelete="CASCADE"), nullable=False)

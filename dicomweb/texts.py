"""Parsers for lists and numbers in headers and parameters, in a time that is linear in their length."""

import re
from collections.abc import Iterator

MOST_DIGITS = 32
"""The largest number of characters of a number."""

_QUOTED = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_UP_TO_COMMA = re.compile(r'[^",]*')
_UP_TO_SEMICOLON = re.compile(r'[^";]*')
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")


def split_list(text: str, separator: str = ",") -> Iterator[str]:
    """Split at commas, or at semicolons, outside of quoted strings (RFC 9110 Section 5.6).

    A quote without a closing one is an ordinary character.
    """
    plain = _UP_TO_COMMA if separator == "," else _UP_TO_SEMICOLON
    start = position = 0
    while position < len(text):
        position = plain.match(text, position).end()  # type: ignore[union-attr]  # it always matches
        if position == len(text):
            break
        if text[position] == separator:
            yield text[start:position]
            start = position = position + 1
        elif found := _QUOTED.match(text, position):
            position = found.end()
        else:  # no later quote closes a string either
            before, *entries = text[position:].split(separator)
            yield from (text[start:position] + before, *entries)
            return
    yield text[start:]


def parse_decimal(text: str) -> float:
    """Parse a finite number as DICOM and HTTP write it; ValueError for all other texts, and for too many characters."""
    stripped = text.strip()
    if len(stripped) > MOST_DIGITS or not _DECIMAL.match(stripped):
        raise ValueError("not a number")
    number = float(stripped)
    if abs(number) == float("inf"):
        raise ValueError("not a finite number")
    return number

"""Lists and numbers in headers and parameters, read in a time that grows with their length alone."""

import re
from collections.abc import Iterator

MOST_DIGITS = 32
"""Characters of a number, at most."""

_QUOTED = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_UP_TO_COMMA = re.compile(r'[^",]*')
_UP_TO_SEMICOLON = re.compile(r'[^";]*')
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z")


def split_list(text: str, separator: str = ",") -> Iterator[str]:
    """The entries between commas, or between semicolons; those in quoted strings do not count (RFC 9110 Section 5.6).

    A quote that is not followed by another one is a letter.
    """
    plain = _UP_TO_COMMA if separator == "," else _UP_TO_SEMICOLON
    start = position = 0
    while position < len(text):
        position = plain.match(text, position).end()  # type: ignore[union-attr]  # it matches nothing, too
        if position == len(text):
            break
        if text[position] == separator:
            yield text[start:position]
            start = position = position + 1
        elif found := _QUOTED.match(text, position):
            position = found.end()
        else:  # none of the quotes that follow is the end of a string either
            before, *entries = text[position:].split(separator)
            yield from (text[start:position] + before, *entries)
            return
    yield text[start:]


def parse_decimal(text: str) -> float:
    """A finite number as DICOM and HTTP write it; ValueError for any other, for more digits, and for other scripts."""
    stripped = text.strip()
    if len(stripped) > MOST_DIGITS or not _DECIMAL.match(stripped):
        raise ValueError("not a number")
    number = float(stripped)
    if abs(number) == float("inf"):
        raise ValueError("not a finite number")
    return number

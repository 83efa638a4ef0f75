"""Several values in one column: the writer of the index puts them there as Python writes a list, cut where it ends.

A file can have any text in an attribute, so this may be made to harm. It is read in a time that grows with its length.
"""

import re
from collections.abc import Iterator

_ITEM = re.compile(r"""'([^'\\]*(?:\\.[^'\\]*)*)'|"([^"\\]*(?:\\.[^"\\]*)*)"|(None)|([0-9eE.+-]+)""", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}
_LARGEST = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


def parse_list(text: str) -> list[str]:
    """The texts of a list of texts, without `None`; the text itself if it is none, nothing if its end is missing."""
    if not text.startswith(("['", '["')):
        return [text]
    found = list(_items(text))
    return [] if None in found else [one for one in found if one is not None]


def _items(text: str) -> Iterator[str | None]:
    """The items, and None at the end where the text does not go on as a list does."""
    at = 1
    while item := _ITEM.match(text, at):
        at = item.end()
        if item[3] is None:
            yield item[4] or _ESCAPE.sub(_character, item[1] or item[2] or "")
        if text.startswith(", ", at):
            at += 2
        elif text[at:] == "]":
            return
        else:
            break
    yield None


def _character(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2] or escape[3]
    if code is None:
        return _CONTROLS.get(escape[4], escape[4])
    number = int(code, 16)
    return "\N{REPLACEMENT CHARACTER}" if number > _LARGEST or number in _SURROGATES else chr(number)

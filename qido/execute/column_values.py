"""The values of columns of the index.

The writer of AWS's tables stores several values as the text of a Python list, truncated. Own tables have backslashes
between them, as DICOM has.

A file can have any text in an attribute, so the text may be hostile. The time for a list grows with its length only.
"""

import re
from collections.abc import Iterator
from typing import Any

from db.index_kind import IndexKind
from qido.parse.attributes import RELATED_INSTANCES, UIDS, SearchAttribute
from qido.results import Value

_ITEM = re.compile(r"""'([^'\\]*(?:\\.[^'\\]*)*)'|"([^"\\]*(?:\\.[^"\\]*)*)"|(None)|([0-9eE.+-]+)""", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}
_LARGEST = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


def column_values(kind: IndexKind, attribute: SearchAttribute, raw: Any) -> tuple[Value, ...]:
    """The values of a column of one kind of tables, without what means "absent"."""
    if raw is None or (raw == 0 and attribute in RELATED_INSTANCES):
        return ()
    if not isinstance(raw, str):
        return (raw,)
    if kind is IndexKind.OWN:
        texts = [raw] if attribute.vr == "LT" or attribute in UIDS else raw.split("\\")
        return tuple([one for one in texts if one])
    text = raw.strip()
    is_list = text.startswith("[") and attribute not in UIDS
    texts = [one.strip() for one in parse_list(text)] if is_list else [text]
    return tuple([one for one in texts if one not in attribute.placeholders])


def parse_list(text: str) -> list[str]:
    """Parse a list of texts, without `None`. A text that is no list is one value; a truncated list has none."""
    if not text.startswith(("['", '["')):
        return [text]
    found = list(_items(text))
    return [] if None in found else [one for one in found if one is not None]


def _items(text: str) -> Iterator[str | None]:
    """The items; None at the end if the text is not a whole list."""
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

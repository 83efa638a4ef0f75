"""Encoder for data sets as rows of `text/csv` (RFC 4180), for spreadsheets and scripts."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydicom.datadict import keyword_for_tag

from dicomweb.dicom_json import Element

_NAME_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def encode_csv(data_sets: Iterable[Mapping[str, Element]], tags: Sequence[str]) -> bytes:
    """Encode a column for each of `tags`, headed by its keyword, and a row for each data set, in UTF-8.

    Several values are joined by backslashes, the groups of a PN value by `=`, as DICOM itself writes them.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([keyword_for_tag(tag) or tag for tag in tags])
    for data_set in data_sets:
        writer.writerow([_cell(data_set.get(tag, {})) for tag in tags])
    return text.getvalue().encode()


def _cell(element: Mapping[str, Any]) -> str:
    return "\\".join(map(_text, element.get("Value", ())))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "=".join(value.get(group, "") for group in _NAME_GROUPS).rstrip("=")
    return "" if value is None else str(value)

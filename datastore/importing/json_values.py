"""Decoded values as the JSON of image-set metadata: numbers, tags, base64, and single values or arrays."""

import base64
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from datastore.importing.element_names import is_always_array

Json = Any
JsonObject = dict[str, Json]


def numbers(content: bytes, letter: str, little_endian: bool) -> list[int | float | str]:
    """The numbers in a value, without excess bytes at the end; NaN and infinities are texts."""
    form = struct.Struct(("<" if little_endian else ">") + letter)
    whole = len(content) // form.size * form.size
    unpacked = [number for (number,) in form.iter_unpack(content[:whole])]
    return unpacked if letter not in "fd" else [_finite(number) for number in unpacked]


def _finite(number: float) -> float | str:
    if number == number and abs(number) != float("inf"):
        return number
    return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"


def attribute_tags(content: bytes, little_endian: bool) -> list[str]:
    """The tags in a value of AT, as 8 hex digits each."""
    pairs = struct.iter_unpack("<HH" if little_endian else ">HH", content[: len(content) // 4 * 4])
    return [f"{group:04X}{element:04X}" for group, element in pairs]


def binary(content: bytes, word_bytes: int) -> str:
    """Base64 of bytes in little endian; `word_bytes` above 1 means that they are big-endian words of that size."""
    if word_bytes > 1:
        whole = len(content) // word_bytes * word_bytes
        words = np.frombuffer(content[:whole], f">u{word_bytes}")
        content = words.astype(f"<u{word_bytes}").tobytes() + content[whole:]
    return base64.b64encode(content).decode()


def shaped(values: Sequence[Json], tag: int) -> Json:
    """An array if the dictionary allows several values or there are several, else the value; None if empty."""
    if not values or all(isinstance(value, str) and not value.strip() for value in values):
        return None
    return list(values) if len(values) > 1 or is_always_array(tag) else values[0]

"""Checks whether a value of image-set metadata fits a VR, and finds another VR. Runs in the FrameFetcher processes.

The metadata states no VR for elements with a keyword. Files use other VRs than the dictionary: US instead of OW for
palettes, OF instead of FL. Numbers of the file are numbers in JSON, and bytes are base64 text. That is the evidence.
"""

import binascii
import struct
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from dicomweb.dicom_json import BINARY_VRS, INTEGER_VRS, NUMBER_VRS

_RANGES = {
    "US": (0, 2**16 - 1),
    "SS": (-(2**15), 2**15 - 1),
    "UL": (0, 2**32 - 1),
    "SL": (-(2**31), 2**31 - 1),
    "UV": (0, 2**64 - 1),
    "SV": (-(2**63), 2**63 - 1),
}
_SMALLEST = {"OL": "UL", "UL": "UL", "SL": "UL", "OV": "UV", "UV": "UV", "SV": "UV"}
_FLOATS = {"OF": "FL", "OD": "FD"}
_AS_BYTES = {
    **dict.fromkeys(("US", "SS"), ("OW", 2)),
    **dict.fromkeys(("UL", "SL"), ("OL", 4)),
    **dict.fromkeys(("UV", "SV"), ("OV", 8)),
    "FL": ("OF", 4),
    "FD": ("OD", 8),
    "SQ": ("UN", 2),
}
"""The VR for the bytes of numbers or of a sequence, and the number of bytes that divides their length."""

_LONGEST_LO = 64
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity", "nan", "inf", "-inf"})
"""Texts for numbers that JSON lacks."""


def as_list(value: Any) -> Sequence[Any]:
    """Return the values as a sequence; empty for null."""
    if value is None:
        return ()
    return value if isinstance(value, list) else [value]


def fits(vr: str, value: Any, *, private: bool) -> bool:
    """Whether a value fits a VR. `private` is stricter: the dictionary of private elements is not reliable."""
    values = [one for one in as_list(value) if one is not None]
    if vr == "SQ":
        return all(isinstance(one, Mapping) for one in values)
    if vr in BINARY_VRS:
        return not values or _is_binary(vr, value, private)
    if vr in ("DS", "IS"):
        return not any(isinstance(one, Mapping | bool) for one in values)
    if vr in NUMBER_VRS:
        return all(_is_number(vr, one) for one in values)
    if vr == "AT":
        return all(isinstance(one, str | int) for one in values)
    return (
        all(isinstance(one, str) for one in values) if private else not any(isinstance(one, Mapping) for one in values)
    )


def _is_binary(vr: str, value: Any, private: bool) -> bool:
    """Whether it is base64 text, or the object that AHI writes for bytes that it stores elsewhere."""
    if isinstance(value, Mapping):
        return not private
    one = value[0] if isinstance(value, list) and len(value) == 1 else value
    return isinstance(one, str) and not (vr in _FLOATS and one in _NOT_FINITE)


def _is_number(vr: str, value: Any) -> bool:
    """Whether it is a number, or the text of one, that the VR can hold."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return False
    try:
        if vr not in INTEGER_VRS:
            float(value)
            return True
        number = int(value)
    except (ValueError, OverflowError):
        return isinstance(value, str) and not value.strip(" \0")
    lowest, highest = _RANGES[vr]
    return lowest <= number <= highest and (isinstance(value, str) or number == value)


def other_vr(usual: str | None, value: Any, *, private: bool) -> str:
    """Return a VR for a value that does not fit its usual VR, or has no known VR, from its JSON."""
    values = [one for one in as_list(value) if one is not None]
    if not values or any(isinstance(one, bool) for one in values):
        return "UN"
    if all(isinstance(one, Mapping) for one in values):
        return "SQ"
    if all(isinstance(one, int | float) or one in _NOT_FINITE for one in values):
        return _of_numbers(usual, [float(one) if isinstance(one, str) else one for one in values])
    if not private and usual in _AS_BYTES:
        vr, multiple_bytes = _AS_BYTES[usual]
        if isinstance(value, str) and _is_base64(value, multiple_bytes):
            return vr
        if usual in NUMBER_VRS:
            return usual  # the values that are numbers are kept
    return "UT" if any(len(str(one)) > _LONGEST_LO for one in values) else "LO"


def _of_numbers(usual: str | None, numbers: Sequence[int | float]) -> str:
    if usual in _FLOATS:
        return _FLOATS[usual]
    whole = [number for number in numbers if isinstance(number, int)]
    if len(whole) < len(numbers) or not -(2**63) <= min(whole) <= max(whole) < 2**64:
        return "FL" if usual and all(_is_single(number) for number in numbers) else "FD"
    names = list(_RANGES)
    at = names.index(_SMALLEST.get(usual, "US")) if usual else names.index("SL")
    order = names[at:] if usual else ["SL", "SV", "UV"]
    fitting = (vr for vr in order if all(_RANGES[vr][0] <= number <= _RANGES[vr][1] for number in whole))
    return next(fitting, "FD")


def _is_single(number: int | float) -> bool:
    """Whether single precision holds the number exactly."""
    try:
        return number != number or bool(struct.unpack("<f", struct.pack("<f", number))[0] == number)
    except OverflowError:
        return False


def _is_base64(text: str, multiple_bytes: int) -> bool:
    try:
        return len(b64decode(text, validate=True)) % multiple_bytes == 0
    except (binascii.Error, ValueError):
        return False

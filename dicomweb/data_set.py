"""DICOM attributes as typed values, which readers make and encoders take."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dicomweb.dicom_json import BINARY_VRS, Element, binary_element, element

V = TypeVar("V")

CHARACTER_SET = "00080005"
UTF_8 = "ISO_IR 192"

_NEVER_SPLIT = frozenset({"LT", "ST", "UT", "UR"})


@dataclass(frozen=True)
class Attribute:
    """One attribute: its tag as 8 upper-case hex digits, its VR, and its value.

    `value` is raw little-endian bytes for the binary VRs, data sets for SQ, else text and numbers, "" for an empty
    one among others. DS and IS are the text of the source, so that nothing is lost. Empty: an empty tuple or bytes.
    """

    tag: str
    vr: str
    value: tuple[str | int | float, ...] | tuple[DataSet, ...] | bytes

    @property
    def items(self) -> tuple[DataSet, ...]:
        """The items of a sequence."""
        return tuple(item for item in self.value if isinstance(item, tuple))

    @property
    def words(self) -> tuple[str | int | float, ...]:
        """The values of an attribute that is neither binary nor a sequence."""
        return tuple(value for value in self.value if not isinstance(value, tuple)) if self.vr not in BINARY_VRS else ()


DataSet = tuple[Attribute, ...]
"""Attributes in ascending order of their tags."""


class Memo(Generic[V]):
    """A cache of values that are computed from attributes, by the identity of the attribute.

    The instances of a series share most attributes, as the same objects. `way` tells different values of one attribute
    apart.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[int, Hashable], tuple[Attribute, V]] = {}

    def of(self, attribute: Attribute, way: Hashable, make: Callable[[], V]) -> V:
        """The result of `make`, now or earlier for the same object, which is kept so that its identity stays its own.

        Binary values and sequences are not cached, because they are long and hardly ever shared.
        """
        if isinstance(attribute.value, bytes) or attribute.vr == "SQ":
            return make()
        known = self._made.get((id(attribute), way))
        if known is None:
            known = self._made[id(attribute), way] = (attribute, make())
        return known[1]


def splits(vr: str) -> bool:
    """Whether a backslash separates values in this VR (PS3.5 Section 6.2)."""
    return vr not in _NEVER_SPLIT and vr not in BINARY_VRS


def json_element(attribute: Attribute) -> Element:
    """An attribute in the DICOM JSON Model, everything inline; JSON is always UTF-8 (PS3.18 Section F.2)."""
    if attribute.tag == CHARACTER_SET:
        return element("CS", [UTF_8])
    if isinstance(attribute.value, bytes):
        return binary_element(attribute.vr, attribute.value)
    if attribute.vr == "SQ":
        items = [{inner.tag: json_element(inner) for inner in item} for item in attribute.items]
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    return element(attribute.vr, attribute.words)

"""The attributes of an instance as a tree for people: sequences with their items, values bounded, bulk data as links.

Runs in the web processes. The attributes come in the DICOM JSON Model, as clients get them.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydicom.datadict import (
    dictionary_description,
    dictionary_has_tag,
    dictionary_keyword,
    private_dictionary_description,
)

from app.console.readings import PersonName, read_clock, read_day, read_instant, read_size, read_uid
from dicomweb.dicom_json import DataSet, Element

MOST_NODES = 5_000
"""Attributes and items of one tree. Those beyond are left out, and the tree says so."""

LONGEST_VALUE = 400  # characters of an attribute with all its values
MOST_VALUES = 64
_DEEPEST = 24  # sequences within sequences
_SHOWN_BYTES = 16
_FIRST_BLOCK = 0x10  # elements from here on reserve blocks for their creators (PS3.5 Section 7.8.1)

_READERS: Mapping[str, Callable[[str], str]] = {
    "DA": read_day,
    "TM": read_clock,
    "DT": read_instant,
    "UI": read_uid,
}


@dataclass(frozen=True)
class Node:
    """One attribute, or one item of a sequence, which has no tag.

    `value` is its value as the data set has it, `reading` as people read it, "" if that is the same. `omitted` is the
    number of values or characters that are not shown, `link` the URL of bulk data, and `creator` that of a private
    attribute, "" for one of the standard.
    """

    tag: str = ""
    name: str = ""
    keyword: str = ""
    vr: str = ""
    value: str = ""
    reading: str = ""
    omitted: int = 0
    link: str = ""
    private: bool = False
    creator: str = ""
    number: int = 0
    children: tuple["Node", ...] = ()

    @property
    def label(self) -> str:
        """The tag as people write it: `(0010,0010)`."""
        return f"({self.tag[:4]},{self.tag[4:]})" if self.tag else ""

    def has(self, text: str) -> bool:
        """Whether its tag, name or value has this text, which is in lower case."""
        digits = text.strip("()").replace(",", "")
        shown = (self.name, self.keyword, self.value, self.reading, self.creator)
        return (digits != "" and digits in self.tag.lower()) or any(text in one.lower() for one in shown)


@dataclass(frozen=True)
class Tree:
    """The attributes of a data set. `left_out` tells that there are more than a tree has."""

    nodes: tuple[Node, ...]
    left_out: bool

    def matching(self, text: str) -> "Tree":
        """The part of the tree with the attributes that have this text, and the sequences that they are in."""
        wanted = text.strip().lower()
        return replace(self, nodes=tuple(_matching(self.nodes, wanted))) if wanted else self

    @property
    def size(self) -> int:
        """The number of attributes."""
        return _count(self.nodes)


def _matching(nodes: Sequence[Node], text: str) -> Iterator[Node]:
    for node in nodes:
        inner = tuple(_matching(node.children, text))
        if node.has(text):
            yield node
        elif inner:
            yield replace(node, children=inner)


def _count(nodes: Sequence[Node]) -> int:
    return sum((node.tag != "") + _count(node.children) for node in nodes)


def tree_of(data_set: DataSet, size_of: Callable[[str], int | None] = lambda _: None) -> Tree:
    """The tree of a data set. `size_of` gives the bytes behind the URL of bulk data, None if they are not known."""
    builder = _Builder(size_of)
    return Tree(tuple(builder.nodes(data_set, 0)), builder.left_out)


@dataclass
class _Builder:
    size_of: Callable[[str], int | None]
    left: int = field(default=MOST_NODES)
    left_out: bool = False

    def nodes(self, data_set: DataSet, depth: int) -> Iterator[Node]:
        creators = _creators(data_set)
        for tag, element in data_set.items():
            if not self._take():
                return
            yield self._node(tag, element, creators, depth)

    def _node(self, tag: str, element: Element, creators: Mapping[str, str], depth: int) -> Node:
        node = _named(tag, element["vr"], creators)
        if node.vr == "SQ":
            return replace(node, children=tuple(self._items(element.get("Value", ()), depth + 1)))
        if (link := element.get("BulkDataURI")) is not None:
            size_bytes = self.size_of(link)
            return replace(node, link=link, value="" if size_bytes is None else read_size(size_bytes))
        if (inline := element.get("InlineBinary")) is not None:
            return _binary(node, inline)
        return _with_values(node, element.get("Value", ()))

    def _items(self, items: Sequence[DataSet | None], depth: int) -> Iterator[Node]:
        if depth > _DEEPEST:
            self.left_out = self.left_out or bool(items)
            return
        for number, item in enumerate(items, 1):
            if not self._take():
                return
            yield Node(number=number, children=tuple(self.nodes(item or {}, depth)))

    def _take(self) -> bool:
        self.left -= 1
        self.left_out = self.left_out or self.left < 0
        return self.left >= 0


def _creators(data_set: DataSet) -> Mapping[str, str]:
    """The private creators of a data set, by the first 6 digits of the tags of their elements."""
    return {
        f"{tag[:4]}{tag[6:]}": str(next(iter(element.get("Value", ())), ""))
        for tag, element in data_set.items()
        if _is_private(tag) and tag[4:6] == "00"
    }


def _is_private(tag: str) -> bool:
    return bool(int(tag[3], 16) % 2)


def _named(tag: str, vr: str, creators: Mapping[str, str]) -> Node:
    """The node of an attribute, without its value."""
    if _is_private(tag):
        if tag[4:6] == "00" and int(tag[6:], 16) >= _FIRST_BLOCK:
            return Node(tag, "Private Creator", vr=vr, private=True)
        creator = creators.get(tag[:6], "")
        return Node(tag, _private_name(tag, creator), vr=vr, private=True, creator=creator)
    number = int(tag, 16)
    if not dictionary_has_tag(number):
        return Node(tag, vr=vr)
    return Node(tag, dictionary_description(number), dictionary_keyword(number), vr)


def _private_name(tag: str, creator: str) -> str:
    """The name that the dictionary of private attributes has; "" for one that it does not have."""
    if not creator:
        return ""
    try:
        return private_dictionary_description(int(tag, 16), creator)
    except KeyError:
        return ""


def _binary(node: Node, inline: str) -> Node:
    """The size of a short binary value, and its first bytes."""
    try:
        content = base64.b64decode(inline)
    except binascii.Error:
        return node
    shown = content[:_SHOWN_BYTES].hex(" ")
    return replace(node, value=read_size(len(content)), reading=shown + (" …" if len(content) > _SHOWN_BYTES else ""))


def _with_values(node: Node, values: Sequence[Any]) -> Node:
    texts = list(map(_text, values[:MOST_VALUES]))
    value, reading = "\\".join(texts), "\\".join(_reading(node.vr, one) for one in values[:MOST_VALUES])
    omitted = max(0, len(values) - MOST_VALUES) or max(0, len(value) - LONGEST_VALUE)
    value, reading = value[:LONGEST_VALUE], reading[:LONGEST_VALUE]
    return replace(node, value=value, reading="" if reading.strip("\\") in ("", value) else reading, omitted=omitted)


def _text(value: Any) -> str:
    """A value as DICOM writes it."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return "=".join(str(value.get(group, "")) for group in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")
    return str(value)


def _reading(vr: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return str(PersonName.from_groups(value))
    reader = _READERS.get(vr)
    return reader(str(value)) if reader and value is not None else _text(value)

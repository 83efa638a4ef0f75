"""Attributes that a text names (PS3.18 Section 8.3.4.1), and the parts of data sets to which their paths lead.

Runs in the web processes and in the fetchers. Wherever a client or an operator names an attribute, it is read here:
a keyword or a tag of 8 hexadecimal digits, both in either case, or a path of them with dots into items of sequences.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydicom.datadict import dictionary_has_tag, dictionary_keyword, keyword_dict

from dicomweb.dicom_json import DataSet
from dicomweb.errors import BadRequest
from dicomweb.pydicom_adapter import REPEATED_TAGS

Path = tuple[str, ...]
"""Tags of 8 upper-case hex digits: those of sequences, then that of an attribute in their items."""

MAX_TAGS = 16
"""Tags in a path."""

_ALL = "all"
_MAX_SHOWN = 64  # characters of a text in an error
_TAG_DIGITS = 8
_HEX = frozenset("0123456789abcdefABCDEF")
_TAG_BY_KEYWORD = {  # one has no keyword; that of a repeating group means the first group
    keyword.lower(): f"{tag:08X}" for keyword, tag in {**REPEATED_TAGS, **keyword_dict}.items() if keyword
}


def parse_path(text: str, source: str = "") -> Path:
    """The path that a text names. BadRequest, which tells the text and its source, if it names no attribute."""
    path = _find_path(text)
    if path is None:
        raise _no_attribute(text, source)
    return path


def parse_parameter_name(name: str) -> Path | None:
    """The path that the name of a query parameter is; None for a parameter that is no match key.

    Unknown parameters are ignored (PS3.18 Section 8.3). BadRequest for a tag with a digit too few or too many.
    """
    for word in name.split("."):
        if word[:1].isdigit() and _HEX.issuperset(word) and abs(len(word) - _TAG_DIGITS) == 1:
            raise _no_attribute(word)
    return _find_path(name)


def parse_names(values: Iterable[str]) -> list[str]:
    """The names in comma-separated lists, without blanks around them and without empty ones."""
    return [name for value in values for part in value.split(",") if (name := part.strip())]


@dataclass(frozen=True)
class IncludeField:
    """The attributes that `includefield` asks for; `everything` stands for `all`."""

    paths: tuple[Path, ...] = ()
    everything: bool = False

    @classmethod
    def from_names(cls, names: Iterable[str]) -> "IncludeField":
        """Read the names of `parse_names`. BadRequest if one is no attribute (PS3.18 Sections 8.3 and 8.3.4.3)."""
        words = list(names)
        paths = dict.fromkeys(parse_path(word, "includefield") for word in words if word.lower() != _ALL)
        return cls(tuple(paths), any(word.lower() == _ALL for word in words))


def parse_bulk_path(text: str) -> str:
    """The path of a bulk value, `{tag}/{item}/{tag}`, with its tags as metadata writes them; other texts unchanged."""
    parts = text.split("/")
    return "/".join((_find_tag(part) or part) if at % 2 == 0 else part for at, part in enumerate(parts))


def path_name(path: Path) -> str:
    """A path for messages: keywords, and tags that have none."""
    return ".".join(dictionary_keyword(tag) or tag if dictionary_has_tag(tag) else tag for tag in path)


def _find_path(text: str) -> Path | None:
    words = text.split(".")
    if len(words) > MAX_TAGS:
        raise BadRequest(f"the path of an attribute has at most {MAX_TAGS} tags; this one has {len(words)}")
    tags = tuple(tag for word in words if (tag := _find_tag(word)))
    return tags if len(tags) == len(words) else None


def _find_tag(word: str) -> str | None:
    if len(word) == _TAG_DIGITS and _HEX.issuperset(word):
        return word.upper()
    return _TAG_BY_KEYWORD.get(word.lower())


def _no_attribute(text: str, source: str = "") -> BadRequest:
    expected = "a keyword, a tag of 8 hexadecimal digits, or a path of them with dots is expected"
    return BadRequest(f"{source}{': ' if source else ''}{text[:_MAX_SHOWN]} is not an attribute: {expected}")


def select(data_set: DataSet, paths: Iterable[Path]) -> DataSet:
    """The attributes of a data set to which `paths` lead, by tag.

    A sequence keeps its number of items, and its items have the selected attributes only. Absent attributes are left
    out.
    """
    rests: dict[str, list[Path]] = {}
    for path in paths:
        rests.setdefault(path[0], []).append(path[1:])
    found: DataSet = {}
    for tag in sorted(rests.keys() & data_set.keys()):
        found[tag] = data_set[tag]
        if all(rests[tag]) and "Value" in data_set[tag]:
            items = [select(item, rests[tag]) for item in items_of(data_set, tag)]
            found[tag] = {**data_set[tag], "Value": items}
    return found


def items_of(data_set: DataSet, tag: str) -> Iterator[DataSet]:
    """The items of a sequence; none if it is absent, or no sequence."""
    return (item for item in data_set.get(tag, {}).get("Value", ()) if isinstance(item, dict))


def private_tag(data_set: DataSet, tag: str, creator: str) -> str | None:
    """The tag of the private element `tag` of `creator` in this data set, in whichever block (PS3.5 Section 7.8.1)."""
    group = tag[:4]
    for name in data_set:
        if name.startswith(f"{group}00") and creator in map(str, data_set[name].get("Value", ())):
            return f"{group}{name[6:]}{tag[6:]}"
    return None

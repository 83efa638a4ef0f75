"""The attributes that a client wants of metadata: `includefield` and `excludefield`, an extension."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dicomweb.attribute_paths import IncludeField, Path, parse_names, parse_path
from dicomweb.dicom_json import DataSet, Element

_ALWAYS = tuple(
    (tag,) for tag in ("00080005", "00080016", "00080018", "00081190", "0020000D", "0020000E")
)  # character set, classes and UIDs, which viewers always need


@dataclass(frozen=True)
class Fields:
    """The attributes to include, None for all, and those to exclude, which takes precedence."""

    included: tuple[Path, ...] | None = None
    excluded: tuple[Path, ...] = ()

    @classmethod
    def from_parameters(cls, parameters: Iterable[tuple[str, str]]) -> "Fields":
        """From a query: comma-separated keywords, tags, dotted paths of these, or `all`.

        BadRequest for a word that names no attribute.
        """
        pairs = list(parameters)
        include = IncludeField.from_names(parse_names(value for name, value in pairs if name == "includefield"))
        excluded = parse_names(value for name, value in pairs if name == "excludefield")
        return cls(
            tuple(sorted(include.paths)) if include.paths and not include.everything else None,
            tuple(sorted({parse_path(word, "excludefield") for word in excluded})),
        )

    @property
    def all(self) -> bool:
        """Whether nothing is left out."""
        return self.included is None and not self.excluded

    def of(self, data_set: DataSet) -> DataSet:
        """The wanted part of a data set; UIDs and the character set are always in it."""
        kept = data_set if self.included is None else _included(data_set, (*self.included, *_ALWAYS))
        return _excluded(kept, tuple(path for path in self.excluded if path not in _ALWAYS))


def _below(paths: Iterable[Path]) -> Mapping[str, tuple[Path, ...]]:
    """The paths below each first tag, without that tag."""
    rests: dict[str, tuple[Path, ...]] = {}
    for path in paths:
        rests[path[0]] = (*rests.get(path[0], ()), path[1:])
    return rests


def _included(data_set: DataSet, paths: Iterable[Path]) -> DataSet:
    rests = _below(paths)
    creators = {f"{tag[:4]}00{tag[4:6]}" for tag in rests if int(tag[3], 16) % 2}
    kept: DataSet = {}
    for tag, element in data_set.items():
        if tag in creators or () in rests.get(tag, ()):
            kept[tag] = element
        elif tag in rests:
            kept[tag] = _with_items(element, lambda item, below=rests[tag]: _included(item, below))
    return kept


def _excluded(data_set: DataSet, paths: Iterable[Path]) -> DataSet:
    rests = _below(paths)
    kept: DataSet = {}
    for tag, element in data_set.items():
        if tag not in rests:
            kept[tag] = element
        elif () not in rests[tag]:
            kept[tag] = _with_items(element, lambda item, below=rests[tag]: _excluded(item, below))
    return kept


def _with_items(element: Element, change: Any) -> Element:
    """A sequence with `change` applied to its items; any other attribute as it is."""
    if element["vr"] != "SQ" or "Value" not in element:
        return element
    return {**element, "Value": [change(item or {}) for item in element["Value"]]}

"""Parts of data sets in the DICOM JSON Model, by paths of tags through sequences."""

from collections.abc import Iterable, Iterator

from dicomweb.dicom_json import DataSet

Path = tuple[str, ...]
"""Tags of 8 upper-case hex digits: those of sequences, then that of the attribute meant, in each of their items."""


def select(data_set: DataSet, paths: Iterable[Path]) -> DataSet:
    """What `paths` lead to, in ascending order: sequences with items of nothing else, if they are not asked for whole.

    What is not there is left out; the items of a sequence stay as many as they are.
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
    """Where the private element `tag` of `creator` is: any block may be reserved for it (PS3.5 Section 7.8.1)."""
    group = tag[:4]
    for name in data_set:
        if name.startswith(f"{group}00") and creator in map(str, data_set[name].get("Value", ())):
            return f"{group}{name[6:]}{tag[6:]}"
    return None

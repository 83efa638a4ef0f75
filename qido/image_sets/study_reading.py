"""Reads the image sets of studies in doubt, and of the studies that these image sets name."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.located_image_sets import LocatedImageSet
from qido.image_sets.archive import Archive
from qido.plan import doubtful_rows


@dataclass
class Parts:
    """The parts of a study in the index: keys of series, keys of image-set rows, and the image sets themselves."""

    series: set[int] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)
    image_sets: list[ImageSetKey] = field(default_factory=list)


@dataclass(frozen=True)
class ReadStudies:
    """Studies in doubt whose image sets have been read.

    `by_study` has the image sets by the UIDs of studies; `keys` are the studies read. `unchecked` are the keys
    of studies with too many image sets, `bare` those without any image set. `complete` is false if some cannot be read.
    """

    parts: Mapping[int, Parts]
    by_study: Mapping[str, Mapping[ImageSetKey, LocatedImageSet]]
    keys: frozenset[int]
    unchecked: frozenset[int]
    bare: frozenset[int]
    complete: bool


def read_studies(archive: Archive, study_keys: Sequence[int], max_studies: int, max_image_sets: int) -> ReadStudies:
    """Read the image sets of studies, then those of the studies that these image sets name."""
    parts = _parts(archive, study_keys[:max_studies])
    chosen, left = _affordable(parts, max_image_sets)
    left |= {*study_keys} - parts.keys()
    located, complete = _located(archive, parts, chosen)
    by_study = _by_study(located)
    own = _keys_of(archive, by_study)
    parts |= _parts(archive, sorted(own.keys() - parts.keys()))
    more, beyond = _affordable({key: parts[key] for key in own if key not in chosen}, max_image_sets)
    located, more_complete = _located(archive, parts, more)
    for study, image_sets in _by_study(located).items():
        by_study[study] |= image_sets
    for key in beyond:
        by_study.pop(own[key], None)
    bare = frozenset(key for key in chosen if key not in own and not parts[key].image_sets)
    unchecked = frozenset(left | beyond) - {*more}
    return ReadStudies(parts, by_study, frozenset({*chosen, *more}), unchecked, bare, complete and more_complete)


def _parts(archive: Archive, study_keys: Sequence[int]) -> dict[int, Parts]:
    found = {key: Parts() for key in study_keys}
    rows = archive.database.rows(doubtful_rows.parts_of(study_keys)) if study_keys else ()
    for study_key, series_key, row_key, *image_set in rows:
        of = found[study_key]
        if series_key is not None:
            of.series.add(series_key)
        if row_key is not None:
            of.rows.add(row_key)
            of.image_sets.append(ImageSetKey(*image_set))
    return found


def _affordable(parts: Mapping[int, Parts], most: int) -> tuple[list[int], set[int]]:
    """The first studies with at most `most` image sets together, and the rest."""
    chosen: list[int] = []
    rest: set[int] = set()
    for key, of in parts.items():
        most -= len(of.image_sets)
        if most < 0:
            rest.add(key)
        else:
            chosen.append(key)
    return chosen, rest


def _located(
    archive: Archive, parts: Mapping[int, Parts], studies: Iterable[int]
) -> tuple[list[LocatedImageSet], bool]:
    """The image sets of studies that can be read, and whether all of them can be."""
    keys = dict.fromkeys(key for study in studies for key in parts[study].image_sets)
    if not keys:
        return [], True
    located, errors = archive.described.locate_readable(list(keys))
    return list(located.values()), not errors


def _by_study(image_sets: Iterable[LocatedImageSet]) -> defaultdict[str, dict[ImageSetKey, LocatedImageSet]]:
    found: defaultdict[str, dict[ImageSetKey, LocatedImageSet]] = defaultdict(dict)
    for one in image_sets:
        found[one.prepared.study_instance_uid][one.key] = one
    return found


def _keys_of(archive: Archive, uids: Iterable[str]) -> dict[int, str]:
    """The UIDs of studies by their keys; parts of these studies may belong to the rows of others."""
    by_column = {held: uid for uid in uids for held in archive.database.index_kind.held_uids(uid)}
    rows = archive.database.rows(doubtful_rows.studies_named(sorted(by_column))) if by_column else ()
    return {key: by_column[uid] for key, uid in rows if uid in by_column}

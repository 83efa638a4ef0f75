"""UIDs that are longer than a column of AWS's tables, which truncates them: the image sets have the whole UIDs.

A well-formed UID of exactly the length of the column counts as whole, because image sets cost calls to AHI.
"""

from collections.abc import Sequence
from dataclasses import replace

from db.schema import UID_CHARACTERS, held_uids
from dicomweb.uids import is_well_formed
from qido.image_sets.archive import Archive
from qido.image_sets.located_series import LocatedSeries, locate
from qido.parse.attributes import INSTANCE_UID, SERIES_UID, STUDY_UID, UIDS, Level, SearchAttribute
from qido.parse.query import Query
from qido.results import Result


def with_whole_uids(archive: Archive, query: Query, results: Sequence[Result]) -> list[Result]:
    """The results with their whole UIDs, of up to `max_image_sets` image sets."""
    level = min(query.level, Level.SERIES)
    keys = list(dict.fromkeys(result.keys[level] for result in results if _is_cut(result)))
    if not keys:
        return list(results)
    series = locate(archive, query.scope, level, keys, whole=False, most=archive.max_image_sets)
    return [replace(result, values={**result.values, **_whole(result, series, level)}) for result in results]


def _is_cut(result: Result) -> bool:
    uids = (str(uid) for of in UIDS for uid in result.values.get(of, ()))
    return any(len(uid) >= UID_CHARACTERS and not is_well_formed(uid) for uid in uids)


def _whole(result: Result, series: LocatedSeries, level: Level) -> dict[SearchAttribute, tuple[str]]:
    """The UIDs of the image sets of a result that begin as those of the index do."""
    sets = [one.prepared for of in series.by_key.get(result.keys[level], ()) for one in of]
    known = {
        STUDY_UID: [one.study_instance_uid for one in sets],
        SERIES_UID: [one.series_instance_uid for one in sets],
        INSTANCE_UID: [uid for one in sets for uid in one.by_uid] if INSTANCE_UID in result.values else [],
    }
    found: dict[SearchAttribute, tuple[str]] = {}
    for attribute, uids in known.items():
        held = str(next(iter(result.values.get(attribute, ())), ""))
        whole = next((uid for uid in uids if held in held_uids(uid)), None)
        if whole:
            found[attribute] = (whole,)
    return found

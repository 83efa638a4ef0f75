"""Searches for instances in image sets: if the index has none, or if a condition is on an unindexed attribute.

Series and attributes of higher levels come from the index.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, time

from ahi.retrieval.series_merge import LocatedInstance
from db.comparison import fold
from dicomweb.dicom_json import DataSet
from qido.execute import index_results, index_search
from qido.image_sets import matching
from qido.image_sets.archive import Archive
from qido.image_sets.located_series import locate
from qido.image_sets.unindexed_values import prefixes, prefixes_of, selected
from qido.parse.attributes import INSTANCE_UID, SERIES_UID, STUDY_UID, Level, Matching, SearchAttribute
from qido.parse.conditions import Condition
from qido.parse.query import Query, SortKey
from qido.plan import statements
from qido.results import Result, ResultPage

UNSEARCHED = "Only the instances of {} series have been searched. Name a study or a series to search all of it."

_TRANSFER_SYNTAXES = "00083002"  # AvailableTransferSyntaxUID, which costs nothing here

Listed = tuple[Result, LocatedInstance]
"""The result for the series of an instance, and the instance."""


@dataclass(frozen=True)
class FoundInstances:
    """All instances that fulfil a query, in order; `warnings` tell which series were not searched."""

    listed: list[Listed]
    warnings: tuple[str, ...]


def page(archive: Archive, query: Query) -> ResultPage:
    """Search for the page of a query; NotFound if the study or series of the path does not exist."""
    found = instances(archive, query)
    shown = found.listed[query.offset : query.offset + query.limit]
    own = [attribute for attribute in query.returned if attribute.level is Level.INSTANCE]
    wanted = (*prefixes(query), *prefixes_of(own), _TRANSFER_SYNTAXES)
    data_sets = archive.described.read([instance for _, instance in shown], wanted, archive.public_root())
    results = (_result(query, own, *one, data_set) for one, data_set in zip(shown, data_sets, strict=True))
    more = max(0, len(found.listed) - query.offset - query.limit)
    return ResultPage(tuple(results), more, len(found.listed) if query.counted else None, found.warnings)


def instances(archive: Archive, query: Query) -> FoundInstances:
    """Search for all instances of a query; NotFound if the study or series of the path does not exist."""
    most = None if query.within_one else archive.max_image_sets
    of_series = query_of_series(query, statements.ALL_ROWS if most is None else most)
    keys = [key for (key,) in archive.database.rows(statements.sort_all(of_series))]
    if not keys:
        index_search.check_scope(archive.database, query)
        return FoundInstances([], ())
    looked_at = keys[: of_series.limit]
    series = locate(archive, query.scope, Level.SERIES, looked_at, whole=True, most=most)
    results = index_results.results_of(archive, of_series, looked_at) if looked_at else []
    listed = [(result, one) for result in results for one in series.instances(result.keys[Level.SERIES])]
    searched = len(looked_at) - len(series.beyond)
    warnings = (UNSEARCHED.format(searched),) if searched < len(keys) else ()
    return FoundInstances(_ordered(archive, query, listed), warnings)


def query_of_series(query: Query, limit: int) -> Query:
    """The query for the series of the instances, with all conditions that are not on instances."""
    returned = {attribute for attribute in query.returned if attribute.level < Level.INSTANCE}
    returned |= {order.attribute for order in query.order if order.attribute.level < Level.INSTANCE}
    return replace(
        query,
        level=Level.SERIES,
        conditions=tuple(condition for condition in query.conditions if not _is_own(condition)),
        returned=tuple(sorted({*returned, STUDY_UID, SERIES_UID}, key=lambda attribute: attribute.tag)),
        limit=limit,
        offset=0,
        order=(),
        unindexed=(),
        unindexed_conditions=(),
        everything=False,
    )


def _is_own(condition: Condition) -> bool:
    return any(attribute.level is Level.INSTANCE for attribute in condition.keys)


def _ordered(archive: Archive, query: Query, listed: list[Listed]) -> list[Listed]:
    """The instances that fulfil the conditions on instances, in the order of the query.

    Without one, series have the order of the index, and their instances are in display order.
    """
    conditions = (*filter(_is_own, query.conditions), *query.unindexed_conditions)
    own_order = [order.attribute for order in query.order if order.attribute.level is Level.INSTANCE]
    keys = [*(key for condition in conditions for key in condition.keys), *own_order]
    data_sets: Sequence[DataSet] = [{}] * len(listed)
    if keys:
        wanted = [instance for _, instance in listed]
        data_sets = archive.described.read(wanted, prefixes_of(keys), archive.public_root())
    fulfilling = [
        (one, data_set)
        for one, data_set in zip(listed, data_sets, strict=True)
        if matching.fulfils(data_set, conditions)
    ]
    for order in reversed(query.order):
        fulfilling = _sorted(fulfilling, order)
    return [one for one, _ in fulfilling]


def _sorted(listed: list[tuple[Listed, DataSet]], order: SortKey) -> list[tuple[Listed, DataSet]]:
    """Sort by one attribute, stably; instances without a value come last."""
    keyed = [(_order_key(order.attribute, one[0][0], one[1]), one) for one in listed]
    known = [(key, one) for key, one in keyed if key is not None]
    known.sort(key=lambda pair: pair[0], reverse=order.descending)
    return [one for _, one in known] + [one for key, one in keyed if key is None]


def _order_key(attribute: SearchAttribute, series: Result, data_set: DataSet) -> str | float | None:
    """The sort value: numbers as numbers, names and descriptions without regard to case, other text as it is."""
    found = series.values[attribute] if attribute in series.values else matching.values(data_set.get(attribute.tag, {}))
    if not found:
        return None
    value = found[0].isoformat() if isinstance(found[0], date | time) else found[0]
    match attribute.matching:
        case Matching.NUMBER:
            try:
                return float(value)
            except ValueError:
                return None
        case Matching.NAME | Matching.DESCRIPTION:
            return fold(str(value))
        case _:
            return str(value)


def _result(
    query: Query, own: Sequence[SearchAttribute], series: Result, instance: LocatedInstance, data_set: DataSet
) -> Result:
    values = {attribute: series.values[attribute] for attribute in query.returned if attribute in series.values}
    empty: dict[SearchAttribute, tuple[str, ...]] = dict.fromkeys(own, ())
    described = {attribute.tag: data_set[attribute.tag] for attribute in own if attribute.tag in data_set}
    if _TRANSFER_SYNTAXES in data_set:
        described[_TRANSFER_SYNTAXES] = data_set[_TRANSFER_SYNTAXES]
    uid = {INSTANCE_UID: (instance[1].sop_instance_uid,)}
    return replace(series, values={**values, **empty, **uid}, described=described | selected(query, data_set))

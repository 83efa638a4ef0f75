"""Executes a search: in the index, in the image sets of what the index found, or in image sets alone."""

from dataclasses import dataclass, replace
from functools import partial

from db.index_kind import IndexKind
from dicomweb.uids import ill_formed, is_well_formed
from qido.execute import index_results, index_search, instances_from_metadata, verified_search
from qido.image_sets.archive import Archive
from qido.image_sets.doubtful_studies import find_doubts
from qido.image_sets.located_series import locate
from qido.image_sets.matching import fulfils
from qido.image_sets.unindexed_values import prefixes_of
from qido.parse.attributes import Level, Matching
from qido.parse.conditions import AnyOf, Equal
from qido.parse.query import Query
from qido.plan import image_set_statements, statements
from qido.results import ResultPage


def search(archive: Archive, query: Query) -> ResultPage:
    """Search for the page of a query.

    NotFound if the study or series of the path does not exist. BadRequest if a UID to match is ill-formed and was not
    found.
    """
    found = verified_search.verified(archive, query, _search(archive, query))
    if query.limit and not query.offset and not found.results:
        _check_uids(query)
    return found


def _check_uids(query: Query) -> None:
    """BadRequest if a UID of a search without results is ill-formed."""
    asked = [
        (condition.attribute.keyword, str(match.value))
        for condition in (*query.conditions, *query.unindexed_conditions)
        if isinstance(condition, AnyOf) and condition.attribute.matching is Matching.UID
        for match in condition.matches
        if isinstance(match, Equal)
    ]
    for keyword, uid in asked:
        if not is_well_formed(uid):
            raise ill_formed(keyword)


def _search(archive: Archive, query: Query) -> ResultPage:
    doubts = find_doubts(archive, query)
    if doubts:
        return verified_search.search(archive, query, doubts, partial(_search_index, archive))
    return _search_index(archive, query)


def _search_index(archive: Archive, query: Query) -> ResultPage:
    if _is_unlisted(archive, query):
        return instances_from_metadata.page(archive, query)
    if not query.unindexed_conditions:
        return index_search.find(archive, query)
    keys = _fulfilling(archive, query)
    shown = keys[query.offset : query.offset + query.limit]
    return ResultPage(
        tuple(index_results.results_of(archive, query, shown)) if shown else (),
        max(0, len(keys) - query.offset - query.limit),
        len(keys) if query.counted else None,
    )


@dataclass(frozen=True)
class ResultCount:
    """The number of results; `warnings` tell what was left out."""

    number: int
    warnings: tuple[str, ...] = ()


def count(archive: Archive, query: Query) -> ResultCount:
    """Count all results of a query, regardless of its page. The errors are those of `search`."""
    found = _count(archive, query)
    if not found.number:
        _check_uids(query)
    return found


def _count(archive: Archive, query: Query) -> ResultCount:
    doubts = find_doubts(archive, query)
    if not doubts:
        return _count_index(archive, query)
    number = verified_search.count(archive, query, doubts, lambda rest: _count_index(archive, rest).number)
    return ResultCount(number, doubts.warnings)


def _count_index(archive: Archive, query: Query) -> ResultCount:
    if _is_unlisted(archive, query):
        instances = instances_from_metadata.instances(archive, query)
        return ResultCount(len(instances.listed), instances.warnings)
    if query.unindexed_conditions:
        return ResultCount(len(_fulfilling(archive, query)))
    number = index_search.count(archive.database, query)
    if not number:
        index_search.check_scope(archive.database, query)
    return ResultCount(number)


def _is_unlisted(archive: Archive, query: Query) -> bool:
    """Whether instances must be searched in image sets: the index has none of them, or lacks an attribute to match.

    Own tables have all instances. AWS's count as complete in a search of the whole archive if they have some.
    """
    if query.level is not Level.INSTANCE:
        return False
    if query.unindexed_conditions:
        return True
    if archive.database.index_kind is IndexKind.OWN:
        return False
    if not query.within_one:
        return not archive.database.rows(image_set_statements.any_instance())
    series = instances_from_metadata.query_of_series(query, statements.ALL_ROWS)
    return bool(archive.database.rows(image_set_statements.without_instances(statements.sort_all(series), query.scope)))


def _fulfilling(archive: Archive, query: Query) -> list[int]:
    """The keys of all patients, studies or series that fulfil the conditions on unindexed attributes too, in order.

    They are few, because such conditions are allowed within one study or series only.
    """
    candidates = statements.sort_all(replace(query, limit=statements.ALL_ROWS, offset=0))
    keys = [key for (key,) in archive.database.rows(candidates)]
    if not keys:
        index_search.check_scope(archive.database, query)
        return []
    series = locate(archive, query.scope, query.level, keys, whole=False, most=None)
    present = [(key, instance) for key in keys if (instance := series.first(key))]
    wanted = prefixes_of(key for condition in query.unindexed_conditions for key in condition.keys)
    data_sets = archive.described.read([instance for _, instance in present], wanted, archive.public_root())
    return [
        key
        for (key, _), data_set in zip(present, data_sets, strict=True)
        if fulfils(data_set, query.unindexed_conditions)
    ]

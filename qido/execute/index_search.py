"""Searches in the index: runs the statements of a query until one of them has found its page."""

from collections.abc import Sequence

from db.engine import Database
from dicomweb.uids import absent
from qido.execute.index_results import read_rows, results_of
from qido.image_sets.archive import Archive
from qido.parse.query import Query
from qido.plan import statement_cache, statements
from qido.plan.sort_order import in_order
from qido.results import Result, ResultPage

COUNT_BOUND = 2_000
"""Results after a page are counted up to this number, which means "as many or more"."""
FEW = 2_100
"""Fewer matches than this are collected and sorted. With more, the newest studies soon fill a page."""
_HANDFUL = 101
"""Fewer matches of IDs and UIDs than this are fetched at once."""


def find(archive: Archive, query: Query, few: int = FEW) -> ResultPage:
    """Search the index; NotFound if the study or series of the path does not exist.

    `few` decides which statements are run. It does not change the results.
    """
    return (
        _by_identifier(archive, query, min(few, _HANDFUL))
        or _collect_and_sort(archive, query, few)
        or _scan_newest(archive, query, few)
    )


def _by_identifier(archive: Archive, query: Query, few: int) -> ResultPage | None:
    """All matches of IDs and UIDs, sorted here; None for other conditions, or for `few` matches and more."""
    if not (planned := statement_cache.by_identifier(query, few)):
        return None
    named, parameters = planned
    rows = [row for (row,) in archive.database.rows(named.statement, parameters)]
    number = len(rows)
    if number >= few:
        return None
    if not number:
        check_scope(archive.database, query)
    page = in_order(rows, named.terms)[query.offset : query.offset + query.limit]
    additional = max(0, number - query.offset - query.limit)
    return ResultPage(tuple(read_rows(archive, query, page)), additional, number if query.counted else None)


def _collect_and_sort(archive: Archive, query: Query, few: int) -> ResultPage | None:
    """All matches, sorted by the database; None for `few` matches and more."""
    if statements.is_open(query) or query.offset >= few:
        return None
    database = archive.database
    rows = database.rows(*statement_cache.collect_and_sort(query, few))
    if not rows:
        check_scope(database, query)
        return ResultPage((), 0, count(database, query) if query.counted else None)
    number = rows[0][0]
    if number >= few:
        return None
    results = tuple(read_rows(archive, query, [row for _, row in rows[: query.limit]]))
    return ResultPage(results, max(0, number - query.offset - query.limit), number if query.counted else None)


def _scan_newest(archive: Archive, query: Query, few: int) -> ResultPage:
    """The page of the newest studies, or of all studies if the newest do not fill it."""
    database, keys = archive.database, list[int]()
    newest = statements.next_window(query)
    while newest and len(keys) <= query.limit:
        keys = [key for (key,) in database.rows(statements.scan_newest(query, newest))]
        newest = statements.next_window(query, newest, query.offset + len(keys) if keys else 0)
    if len(keys) <= query.limit:
        keys = [key for (key,) in database.rows(statement_cache.sort_all(query))]
    if not keys:
        check_scope(database, query)
    additional = _additional(database, query, few) if len(keys) > query.limit else 0
    return ResultPage(_page(archive, query, keys), additional, count(database, query) if query.counted else None)


def _additional(database: Database, query: Query, few: int) -> int:
    """The number of results after the page of a scan, counted up to COUNT_BOUND."""
    if not statements.is_open(query) and query.offset + query.limit + COUNT_BOUND <= few:
        return COUNT_BOUND  # they were collected before and were too many
    found: int = database.rows(statement_cache.count_further(query, COUNT_BOUND))[0][0]
    return found


def _page(archive: Archive, query: Query, keys: Sequence[int]) -> tuple[Result, ...]:
    return tuple(results_of(archive, query, keys[: query.limit])) if query.limit and keys else ()


def count(database: Database, query: Query) -> int:
    """Count all results, regardless of the page."""
    found: int = database.rows(statements.count(query))[0][0]
    return found


def check_scope(database: Database, query: Query) -> None:
    """NotFound if the study or series of the path does not exist."""
    if query.study_uid and not database.rows(statements.scope(query)):
        what = "there is no such series in this study" if query.series_uid else "there is no such study"
        raise absent(what, *query.path_uids)

"""Searches for what at least one of several queries finds: QIDO-RS itself can only demand several keys together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qido.execute.index_search import COUNT_BOUND
from qido.execute.search import search
from qido.image_sets import result_order
from qido.image_sets.archive import Archive
from qido.parse.attributes import UIDS
from qido.parse.query import Query
from qido.results import Result, ResultPage


@dataclass(frozen=True)
class CountedPage:
    """A page of results, and the number of all: at least `number`, and exactly that if `exact`."""

    page: ResultPage
    number: int
    exact: bool


def search_any(archive: Archive, queries: Sequence[Query]) -> CountedPage:
    """The page of what at least one of the queries finds, each result once.

    There is at least one query. They are alike but for their conditions. The time grows with the offset of the page if
    there are several. The errors are those of `search`.
    """
    if len(queries) == 1:
        (query,) = queries
        found = search(archive, query)
        number = (query.offset if found.results else 0) + len(found.results) + found.additional
        return CountedPage(found, number, exact=found.additional < COUNT_BOUND)
    first = queries[0]
    end = first.offset + first.limit
    pages = [search(archive, replace(result_order.with_terms(one), limit=end, offset=0)) for one in queries]
    merged: list[Result] = []
    for one in pages:
        merged = result_order.merge(first, merged, one.results)
    listed = _each_once(first, merged)
    exact = not any(one.additional for one in pages)
    number = max([len(listed), *(len(one.results) + one.additional for one in pages)])
    shown = tuple(result_order.without_terms(first, listed[first.offset : end]))
    warnings = tuple(dict.fromkeys(text for one in pages for text in one.warnings))
    return CountedPage(ResultPage(shown, max(0, number - end), warnings=warnings), number, exact)


def _each_once(query: Query, results: Sequence[Result]) -> list[Result]:
    """The results without repetitions, which several queries found."""
    (uid,) = (uid for uid in UIDS if uid.level is query.level)
    found: dict[object, Result] = {}
    for one in results:
        found.setdefault(one.keys.get(query.level) or one.values[uid], one)
    return list(found.values())

"""The studies of the work list: pages of rows, by searches as clients make them. Runs in the web processes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

from app.console.readings import PersonName, read_clock, read_day
from app.console.study_filter import COLUMNS, PAGE_SIZES, Keys, StudyFilter
from db.scope import EVERYTHING, Scope
from dicomweb.uids import is_well_formed
from qido.encode.data_sets import warnings
from qido.execute.any_search import CountedPage, search_any
from qido.execute.search import search
from qido.image_sets.archive import Archive
from qido.parse.attributes import BY_TAG, MODALITIES_IN_STUDY, STUDY_INSTANCES, STUDY_SERIES, STUDY_UID, Level
from qido.parse.query import Query, parse_query
from qido.results import Result

SORTED_AT_MOST = 2_000
"""So many studies are sorted by another column than the date. Sorting more would take seconds."""

WORDS_IN_NEWEST = 5_000
"""Words of names are searched for in so many of the newest studies. No index has them, so more would take too long."""

_FIRST_DAY_OF_ALL = "19000101"  # of all studies that have a date


@dataclass(frozen=True)
class StudyRow:
    """One study of the list, as people read it; "" and None for what is not known."""

    study_instance_uid: str
    name: PersonName
    patient_id: str
    birth_date: str
    sex: str
    date: str
    time: str
    modalities: str
    accession: str
    description: str
    referring: PersonName
    series: int | None
    instances: int | None

    @classmethod
    def of(cls, result: Result) -> "StudyRow":
        """The row of a result that has the attributes of `RETURNED`."""
        text = partial(_text, result)
        return cls(
            str(result.values[STUDY_UID][0]),
            PersonName.from_text(text("00100010")),
            text("00100020"),
            read_day(text("00100030")),
            text("00100040"),
            read_day(text("00080020")),
            read_clock(text("00080030"))[:5],
            " ".join(str(one) for one in result.values.get(MODALITIES_IN_STUDY, ())),
            text("00080050"),
            text("00081030"),
            PersonName.from_text(text("00080090")),
            _count(result, STUDY_SERIES.tag),
            _count(result, STUDY_INSTANCES.tag),
        )


RETURNED = (("includefield", "StudyDescription"),)
"""The attributes of rows that results do not have anyway."""


@dataclass(frozen=True)
class StudyPage:
    """A page of the list: the rows, how many there are in all, and what people should know about them.

    `number` is exact, or else a lower bound. `sorted` is false if there are too many studies for the order of the
    filter, so that they come with the newest first. `ends_early` if there are more than the list goes on to. `alike` if
    only names that sound alike were found. `newest_alone` if words were searched for in the newest studies only.
    """

    rows: tuple[StudyRow, ...]
    first_row: int
    number: int
    exact: bool
    sorted: bool
    has_next: bool
    ends_early: bool
    warnings: tuple[str, ...] = ()
    alike: bool = False
    newest_alone: bool = False

    @property
    def last_row(self) -> int:
        """The number of the last row, from 1; one less than `first_row` if there is none."""
        return self.first_row + len(self.rows) - 1


def find_studies(archive: Archive, scope: Scope, wanted: StudyFilter, today: date) -> StudyPage:
    """The page of a filter, of what is in scope. BadRequest for a text that cannot be searched for."""
    first_day = _first_day(archive, wanted, today) if wanted.has_words else ""
    since = [("StudyDate", f"{first_day}-")] if first_day else []
    searches = wanted.match_keys(today) + ([[*wanted.word_keys(today), *since]] if wanted.has_words else [])
    found = _found(archive, scope, wanted, searches)
    if not found.number and wanted.has_words:
        found = replace(_found(archive, scope, wanted, [[*wanted.sound_keys(today), *since]]), alike=True)
    return replace(found, newest_alone=bool(first_day))


def _found(archive: Archive, scope: Scope, wanted: StudyFilter, searches: Sequence[Keys]) -> StudyPage:
    """The page of what at least one of the searches finds."""
    page = [*RETURNED, ("limit", str(wanted.size)), ("offset", str(wanted.offset)), *_OPTIONS]
    queries = [_query(keys, page, scope) for keys in searches]
    found = search_any(archive, queries)
    is_sorted = wanted.sorts_by_newest or (found.exact and found.number <= SORTED_AT_MOST)
    if found.number > 1 and is_sorted and not wanted.sorts_by_newest:
        found = search_any(archive, [_ordered(query, wanted.sort) for query in queries])
    return _page(wanted, queries, found, is_sorted=is_sorted)


def _query(keys: Keys, page: Keys, scope: Scope) -> Query:
    """The query whose keys must all match. In QIDO-RS, one of those with the same name need match."""
    layers: list[dict[str, str]] = [{}]
    for name, value in keys:
        layer = next((one for one in layers if name not in one), None)
        if layer is None:
            layers.append(layer := {})
        layer[name] = value
    first, *others = (
        parse_query([*layer.items(), *page], Level.STUDY, max_results=PAGE_SIZES[-1], scope=scope) for layer in layers
    )
    return replace(first, conditions=first.conditions + tuple(of for one in others for of in one.conditions))


def _first_day(archive: Archive, wanted: StudyFilter, today: date) -> str:
    """The day from which on words of names are searched for; "" for all studies.

    It bounds the studies that the database reads, so it is the same for everybody, whatever they may see.
    """
    if wanted.everywhere or wanted.finds_few:
        return ""
    place = [("limit", "1"), ("offset", str(WORDS_IN_NEWEST))]
    query = parse_query([*wanted.day_keys(today), *place], Level.STUDY, max_results=1, scope=EVERYTHING)
    found = search(archive, query).results
    if not found:
        return ""
    return _text(found[0], "00080020").replace("-", "") or _FIRST_DAY_OF_ALL


def seen_studies(archive: Archive, scope: Scope, uids: Iterable[str]) -> frozenset[str]:
    """Those of the studies that are in scope."""
    asked = sorted(uid for uid in uids if is_well_formed(uid))
    if not asked:
        return frozenset()
    keys = [("StudyInstanceUID", ",".join(asked)), ("limit", str(len(asked)))]
    found = search(archive, parse_query(keys, Level.STUDY, max_results=len(asked), scope=scope))
    return frozenset(str(result.values[STUDY_UID][0]) for result in found.results)


def _page(wanted: StudyFilter, queries: Sequence[Query], found: CountedPage, *, is_sorted: bool) -> StudyPage:
    told = (text for query in queries for text in warnings(query, replace(found.page, additional=0)))
    goes_on, more = wanted.offset + wanted.size < wanted.last_row, found.page.additional > 0
    return StudyPage(
        tuple(map(StudyRow.of, found.page.results)),
        wanted.offset + 1,
        found.number,
        found.exact,
        is_sorted,
        more and goes_on,
        more and not goes_on,
        tuple(dict.fromkeys(told)),
    )


_OPTIONS = (("multiplevaluematching", "true"),)
"""Several values of one key are separated by a backslash, and one of them must match."""


def _ordered(query: Query, sort: str) -> Query:
    names = COLUMNS[sort.removeprefix("-")].split(",")
    sign = "-" if sort.startswith("-") else ""
    ordered = ",".join(sign + name for name in names)
    order = parse_query([("orderby", ordered)], query.level, max_results=query.limit).order
    return replace(query, order=order)


def _text(result: Result, tag: str) -> str:
    values = result.values.get(BY_TAG[tag], ())
    value = values[0] if values else ""
    return value if isinstance(value, str) else str(value)


def _count(result: Result, tag: str) -> int | None:
    text = _text(result, tag)
    return int(text) if text.isdecimal() else None

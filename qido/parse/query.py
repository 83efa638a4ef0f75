"""A search as a value, and the parser that makes it of query parameters (PS3.18 Section 8.3.4)."""

import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from functools import lru_cache

from db.scope import EVERYTHING, Scope
from dicomweb.attribute_paths import IncludeField, parse_names, parse_parameter_name, parse_path
from dicomweb.errors import BadRequest
from dicomweb.uids import parse_uid
from qido.parse.attributes import ATTRIBUTES, BY_TAG, UIDS, Level, Presence, SearchAttribute
from qido.parse.bounds import INCLUDED, KEYS, ORDERED, PARAMETERS
from qido.parse.conditions import AnyOf, Condition, Parameter, UnindexedCondition
from qido.parse.match_keys import MatchKey, MatchOptions, names_one, parse_match_keys
from qido.parse.unindexed import UnindexedAttribute, find_unindexed, is_creator

_OPTIONS = frozenset(
    {"limit", "offset", "orderby", "count", "includefield"}
    | {"fuzzymatching", "emptyvaluematching", "multiplevaluematching"}
)
_BOOLEANS = {"true": True, "false": False, "": False}
_UNSIGNED = re.compile(r"[0-9]+\Z")
_LARGEST = 2**31 - 1  # more rows than an index has


@dataclass(frozen=True)
class SortKey:
    """One attribute of `orderby`. Results without a value come last in either direction."""

    attribute: SearchAttribute
    descending: bool


@dataclass(frozen=True, kw_only=True)
class Query:
    """One search: results of `level`, below the study or series that the path names, if any.

    `returned` are the indexed attributes of the results, by tag. `limit` is at most the maximum of the service. `order`
    comes before the usual order. `counted` asks for the number of all results. Only what is in `scope` is found and
    counted.

    `unindexed` are attributes of the results that the index lacks, and `unindexed_conditions` are conditions on such
    attributes. `everything` asks for all attributes of the levels from `highest` to that of the results.
    """

    level: Level
    study_uid: str | Parameter | None
    series_uid: str | Parameter | None
    conditions: tuple[Condition, ...]
    returned: tuple[SearchAttribute, ...]
    limit: int
    offset: int
    warnings: tuple[str, ...] = ()
    order: tuple[SortKey, ...] = ()
    counted: bool = False
    scope: Scope = EVERYTHING
    unindexed: tuple[UnindexedAttribute, ...] = ()
    unindexed_conditions: tuple[UnindexedCondition, ...] = ()
    everything: bool = False
    highest: Level = Level.PATIENT

    @property
    def path_uids(self) -> tuple[str, ...]:
        """The UIDs that the path names: that of a study, then that of a series."""
        return tuple(uid for uid in (self.study_uid, self.series_uid) if isinstance(uid, str))

    @property
    def within_one(self) -> bool:
        """Whether all results are within one study or series, which the path or a key names."""
        matches = {
            condition.attribute: condition.matches for condition in self.conditions if isinstance(condition, AnyOf)
        }
        return self.study_uid is not None or names_one(matches)


def parse_query(
    parameters: Iterable[tuple[str, str]],
    level: Level,
    study_uid: str | None = None,
    series_uid: str | None = None,
    *,
    max_results: int,
    scope: Scope = EVERYTHING,
) -> Query:
    """Parse decoded names and values of query parameters, and the UIDs of the path.

    Unknown names are ignored. `max_results` is the limit if there is none, and the largest one. BadRequest names a
    parameter whose value is ill-formed, or a bound of `qido.parse.bounds` that the search exceeds.
    """
    pairs = tuple(parameters)
    PARAMETERS.check(pairs)
    options = {name: value.strip() for name, value in pairs}  # of a name given twice, the last counts
    keys = [
        MatchKey(path, value) for name, value in pairs if name not in _OPTIONS and (path := parse_parameter_name(name))
    ]
    creators = {key.path[0]: key.value.strip() for key in keys if is_creator(key.path)}
    included = parse_names(value for name, value in pairs if name == "includefield")
    ordered = parse_names([options.get("orderby", "")])
    KEYS.check({key.path for key in keys})
    INCLUDED.check(included)
    ORDERED.check(ordered)
    include = IncludeField.from_names(included)
    study_uid = study_uid and parse_uid(study_uid, "the study in the path")
    series_uid = series_uid and parse_uid(series_uid, "the series in the path")
    matches = parse_match_keys(keys, _match_options(options), level, creators, within_study=study_uid is not None)
    highest = Level.SERIES if study_uid and not series_uid else Level.INSTANCE if series_uid else Level.PATIENT
    return Query(
        level=level,
        study_uid=study_uid,
        series_uid=series_uid,
        conditions=matches.conditions,
        returned=_returned(level, highest, include, matches.indexed),
        limit=min(_unsigned(options, "limit", max_results), max_results),
        offset=_unsigned(options, "offset", 0),
        warnings=matches.warnings,
        order=tuple(_parse_sort_key(level, name) for name in ordered),
        counted=_boolean(options, "count"),
        scope=scope,
        unindexed=_unindexed(level, include, creators, matches.unindexed),
        unindexed_conditions=matches.unindexed_conditions,
        everything=include.everything,
        highest=highest,
    )


def _match_options(options: Mapping[str, str]) -> MatchOptions:
    return MatchOptions(
        empty_values=_boolean(options, "emptyvaluematching"),
        value_lists=_boolean(options, "multiplevaluematching"),
        fuzzy=_boolean(options, "fuzzymatching"),
    )


def _parse_sort_key(level: Level, text: str) -> SortKey:
    """Parse `Attribute` or `-Attribute`; BadRequest if results of `level` cannot be ordered by it."""
    path = parse_path(text.removeprefix("-"), "orderby")
    attribute = BY_TAG.get(path[0]) if len(path) == 1 else None
    if attribute is None or attribute.level > level or not attribute.orders:
        raise BadRequest(f"orderby names what results of the level {level.name.lower()} cannot be ordered by")
    return SortKey(attribute, text.startswith("-"))


def _returned(
    level: Level, highest: Level, include: IncludeField, matched: Iterable[SearchAttribute]
) -> tuple[SearchAttribute, ...]:
    """The indexed attributes of a result, by tag (PS3.18 Section 10.6.3.3).

    These are the attributes of the levels `highest` to `level`, the UIDs of all levels, the match keys, and the
    attributes of `includefield` that are of no lower level.
    """
    included = {BY_TAG[path[0]] for path in include.paths if len(path) == 1 and path[0] in BY_TAG}
    return _select_returned(level, highest, frozenset(included.union(matched, UIDS)), include.everything)


@lru_cache(256)
def _select_returned(
    level: Level, highest: Level, requested: Set[SearchAttribute], everything: bool
) -> tuple[SearchAttribute, ...]:
    def is_returned(attribute: SearchAttribute) -> bool:
        own = attribute.presence is Presence.OWN_LEVEL and attribute.level == level
        usual = own or everything or attribute.presence in (Presence.ALWAYS, Presence.IF_KNOWN)
        return attribute in requested or (usual and attribute.level >= highest)

    found = (attribute for attribute in ATTRIBUTES if attribute.level <= level and is_returned(attribute))
    return tuple(sorted(found, key=lambda attribute: attribute.tag))


def _unindexed(
    level: Level, include: IncludeField, creators: Mapping[str, str], matched: Iterable[UnindexedAttribute]
) -> tuple[UnindexedAttribute, ...]:
    """The requested attributes that the index lacks and that are of no lower level, by tag."""
    included = {found for path in include.paths if (found := find_unindexed(path, creators))}
    wanted = (attribute for attribute in included | {*matched} if attribute.level <= level)
    return tuple(sorted(wanted, key=lambda attribute: (attribute.path, attribute.creator or "")))


def _boolean(options: Mapping[str, str], name: str) -> bool:
    try:
        return _BOOLEANS[options.get(name, "").lower()]
    except KeyError:
        raise BadRequest(f"{name} is neither true nor false") from None


def _unsigned(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name, "")
    if not text:
        return default
    if not _UNSIGNED.match(text):
        raise BadRequest(f"{name} is not an unsigned integer")
    digits = text.lstrip("0") or "0"
    return _LARGEST if len(digits) > 10 else min(int(digits), _LARGEST)

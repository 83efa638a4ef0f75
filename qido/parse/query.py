"""From the parameters of a search to a frozen value (PS3.18 Section 8.3.4)."""

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache

from db.scope import EVERYTHING, Scope
from dicomweb.attribute_paths import IncludeField, Path, parse_names, parse_parameter_name, parse_path, path_name
from dicomweb.errors import BadRequest
from dicomweb.uids import parse_uid
from qido.parse.attributes import (
    ATTRIBUTES,
    BY_TAG,
    MOMENTS,
    SERIES_UID,
    STUDY_UID,
    UIDS,
    Level,
    Matching,
    Presence,
    SearchAttribute,
)
from qido.parse.bounds import INCLUDED, KEYS, ORDERED, PARAMETERS, PATTERNS, VALUES, WORDS
from qido.parse.conditions import (
    A,
    AnyOf,
    Between,
    Condition,
    Equal,
    Fuzzy,
    LackingCondition,
    Match,
    Period,
    parse_matches,
)
from qido.parse.person_names import fuzzy_words
from qido.parse.unindexed import LACKING_MOMENTS, Key, UnindexedAttribute, find_unindexed, is_creator

KEY_UNSUPPORTED = "{} cannot be matched at this level. It has been ignored."
KEY_UNBOUNDED = "{} can be matched within a study or a series only. It has been ignored."

_BOOLEANS = {"true": True, "false": False, "": False}
_UNSIGNED = re.compile(r"[0-9]+\Z")
_LARGEST = 2**31 - 1  # more rows than an index has


@dataclass(frozen=True)
class SortKey:
    """One attribute by which results are ordered; those without a value come last either way."""

    attribute: SearchAttribute
    descending: bool


@dataclass(frozen=True, kw_only=True)
class Query:
    """One search: results of `level`, below a study or a series where the path names one.

    `returned` is what results have, in the order of tags. `limit` is at most the maximum of the service. `order` comes
    before the usual order. `counted` asks for the number of all results, whatever the page. Nothing out of `scope` is
    found, or counted.

    Of what the index lacks, `unindexed` is what results have and `unindexed_conditions` what they fulfil;
    `everything` asks for all attributes of the levels from `highest` to that of the results.
    """

    level: Level
    study_uid: str | None
    series_uid: str | None
    conditions: tuple[Condition, ...]
    returned: tuple[SearchAttribute, ...]
    limit: int
    offset: int
    warnings: tuple[str, ...] = ()
    order: tuple[SortKey, ...] = ()
    counted: bool = False
    scope: Scope = EVERYTHING
    unindexed: tuple[UnindexedAttribute, ...] = ()
    unindexed_conditions: tuple[LackingCondition, ...] = ()
    everything: bool = False
    highest: Level = Level.PATIENT

    @property
    def within_one(self) -> bool:
        """Whether all results are within one study or series, which the path or a key names."""
        wanted = {one.attribute: one.matches for one in self.conditions if isinstance(one, AnyOf)}
        return self.study_uid is not None or _names_one(wanted)


@dataclass(frozen=True)
class _Key:
    """A parameter that names an attribute, with its value."""

    path: Path
    value: str


def parse_query(
    parameters: Iterable[tuple[str, str]],
    level: Level,
    study_uid: str | None = None,
    series_uid: str | None = None,
    *,
    max_results: int,
    scope: Scope = EVERYTHING,
) -> Query:
    """The query that `parameters`, names and values as decoded, make below the UIDs of the path.

    Unknown names are ignored; BadRequest names the parameter whose value is ill-formed, or the bound of
    `qido.parse.bounds` that is passed. Without a limit, or above it, `max_results` is the limit.
    """
    pairs = tuple(parameters)
    PARAMETERS.check(pairs)
    options = {name: value.strip() for name, value in pairs}  # of a name given twice, the last counts
    keys = [_Key(path, value) for name, value in pairs if name not in _OPTIONS and (path := parse_parameter_name(name))]
    creators = {key.path[0]: key.value.strip() for key in keys if is_creator(key.path)}
    included = parse_names(value for key, value in pairs if key == "includefield")
    ordered = parse_names([options.get("orderby", "")])
    KEYS.check({key.path for key in keys})
    INCLUDED.check(included)
    ORDERED.check(ordered)
    include = IncludeField.from_names(included)
    study_uid = study_uid and parse_uid(study_uid, "the study in the path")
    series_uid = series_uid and parse_uid(series_uid, "the series in the path")
    asked = _matching(keys, options, level, creators, within_study=study_uid is not None)
    highest = Level.SERIES if study_uid and not series_uid else Level.INSTANCE if series_uid else Level.PATIENT
    return Query(
        level=level,
        study_uid=study_uid,
        series_uid=series_uid,
        conditions=_conditions(asked.known, MOMENTS),
        returned=_returned(level, highest, include, asked.known),
        limit=min(_unsigned(options, "limit", max_results), max_results),
        offset=_unsigned(options, "offset", 0),
        warnings=asked.warnings,
        order=tuple(_parse_order(level, name) for name in ordered),
        counted=_boolean(options, "count"),
        scope=scope,
        unindexed=_lacking(level, include, creators, asked.unindexed),
        unindexed_conditions=_conditions(asked.unindexed, LACKING_MOMENTS),
        everything=include.everything,
        highest=highest,
    )


_OPTIONS = frozenset(
    {"limit", "offset", "orderby", "count", "includefield"}
    | {"fuzzymatching", "emptyvaluematching", "multiplevaluematching"}
)


def _parse_order(level: Level, text: str) -> SortKey:
    """`Attribute` or `-Attribute`; BadRequest if the index cannot order results of `level` by it."""
    path = parse_path(text.removeprefix("-"), "orderby")
    attribute = BY_TAG.get(path[0]) if len(path) == 1 else None
    if attribute is None or attribute.level > level or not attribute.orders:
        raise BadRequest(f"orderby names what results of the level {level.name.lower()} cannot be ordered by")
    return SortKey(attribute, text.startswith("-"))


@dataclass(frozen=True)
class _Asked:
    """What is to match, of the attributes that the index has and of those that it lacks; and what is ignored."""

    known: dict[SearchAttribute, tuple[Match, ...]]
    unindexed: dict[UnindexedAttribute, tuple[Match, ...]]
    warnings: tuple[str, ...]


def _matching(
    keys: Iterable[_Key], options: dict[str, str], level: Level, creators: dict[str, str], *, within_study: bool
) -> _Asked:
    ways = {
        "empty_values": _boolean(options, "emptyvaluematching"),
        "value_lists": _boolean(options, "multiplevaluematching"),
        "fuzzy": _boolean(options, "fuzzymatching"),
    }
    split = _split((key for key in keys if not is_creator(key.path)), level, creators)
    known, unindexed = _matches(split.known, **ways), _matches(split.unindexed, **ways)
    _check_number([*known.items(), *unindexed.items()])
    warnings = [
        KEY_UNSUPPORTED.format(name) for name in dict.fromkeys(path_name(key.path) for key in split.unsupported)
    ]
    if not within_study and not _names_one(known):
        warnings += [KEY_UNBOUNDED.format(key.keyword) for key, wanted in unindexed.items() if wanted]
        unindexed = {key: () for key, wanted in unindexed.items() if not wanted}
    return _Asked(known, unindexed, tuple(warnings))


def _check_number(matches: Sequence[tuple[Key, tuple[Match, ...]]]) -> None:
    """BadRequest where there is more to match than a search may have."""
    all_matches = [match for _, found in matches for match in found]
    VALUES.check(all_matches)
    whole = sum(key.matching in _WHOLE and isinstance(match, Equal) for key, found in matches for match in found)
    PATTERNS.check(len(all_matches) - whole)
    WORDS.check(sum(len(fuzzy_words(match.value)) for match in all_matches if isinstance(match, Fuzzy)))


_WHOLE = frozenset({Matching.UID, Matching.CODE, Matching.ID, Matching.NUMBER, Matching.DECIMAL})


@dataclass(frozen=True)
class _Split:
    """Match keys: what the index has, what it lacks, and what cannot be matched in results of the level."""

    known: list[tuple[SearchAttribute, str]]
    unindexed: list[tuple[UnindexedAttribute, str]]
    unsupported: list[_Key]


def _split(keys: Iterable[_Key], level: Level, creators: dict[str, str]) -> _Split:
    found = _Split([], [], [])
    for key in keys:
        unindexed = find_unindexed(key.path, creators)
        known = BY_TAG.get(key.path[0]) if unindexed is None else None
        if unindexed and unindexed.matching is not Matching.NONE and unindexed.level <= level:
            found.unindexed.append((unindexed, key.value))
        elif known and known.matching is not Matching.NONE and known.level <= level:
            found.known.append((known, key.value))
        elif key.value.strip("* "):  # universal matching asks for nothing
            found.unsupported.append(key)
    return found


def _names_one(matches: dict[SearchAttribute, tuple[Match, ...]]) -> bool:
    """Whether a key names one study or one series, so that few image sets come into question."""
    wanted = (matches.get(uid, ()) for uid in (STUDY_UID, SERIES_UID))
    return any(len(found) == 1 and isinstance(found[0], Equal) for found in wanted)


def _matches(
    keys: Iterable[tuple[A, str]], *, empty_values: bool, value_lists: bool, fuzzy: bool
) -> dict[A, tuple[Match, ...]]:
    """What each attribute is to match; a key given several times means any of its values."""
    found: dict[A, tuple[Match, ...]] = {}
    for attribute, text in keys:
        matches = parse_matches(attribute, text, empty_values=empty_values, value_lists=value_lists, fuzzy=fuzzy)
        universal = not matches or found.get(attribute) == ()
        found[attribute] = () if universal else found.get(attribute, ()) + matches
    return found


def _conditions(
    matches: dict[A, tuple[Match, ...]], moments: Iterable[tuple[A, A]]
) -> tuple[AnyOf[A] | Period[A], ...]:
    """The conditions of a query: a range of dates and one of times become one of instants."""
    left = {attribute: found for attribute, found in matches.items() if found}
    periods = []
    for day, clock in moments:
        if period := _period(day, left.get(day, ()), clock, left.get(clock, ())):
            del left[day], left[clock]
            periods.append(period)
    return (*periods, *(AnyOf(attribute, found) for attribute, found in left.items()))


def _period(day: A, days: tuple[Match, ...], clock: A, times: tuple[Match, ...]) -> Period[A] | None:
    """The combination of a range of dates and one of times, if there is one (PS3.4 Section C.2.2.2.5).

    An end of the times without one of the dates belongs to no instant: such ranges are matched each on its own.
    """
    match (days, times):
        case ((Between(first_day, last_day),), (Between(first_time, last_time),)):
            if first_day == last_day or (first_time and not first_day) or (last_time and not last_day):
                return None
            return Period(
                day, clock, _instant(first_day, first_time, time.min), _instant(last_day, last_time, time.max)
            )
    return None


def _instant(day: date | time | None, clock: date | time | None, otherwise: time) -> datetime | None:
    if not isinstance(day, date):
        return None
    return datetime.combine(day, clock if isinstance(clock, time) else otherwise)


def _returned(
    level: Level, highest: Level, include: IncludeField, matched: Iterable[SearchAttribute]
) -> tuple[SearchAttribute, ...]:
    """What PS3.18 Section 10.6.3.3 wants in a result, by tag: the attributes of the levels `highest` to `level`, the
    UIDs of all levels, the match keys, and what was asked for and is of no lower level.
    """
    named = {BY_TAG[path[0]] for path in include.paths if len(path) == 1 and path[0] in BY_TAG}
    return _wanted(level, highest, frozenset(named.union(matched, UIDS)), include.everything)


@lru_cache(256)
def _wanted(level: Level, highest: Level, asked: Set[SearchAttribute], everything: bool) -> tuple[SearchAttribute, ...]:
    def wanted(attribute: SearchAttribute) -> bool:
        own = attribute.presence is Presence.OWN_LEVEL and attribute.level == level
        usual = own or everything or attribute.presence in (Presence.ALWAYS, Presence.IF_KNOWN)
        return attribute in asked or (usual and attribute.level >= highest)

    found = (attribute for attribute in ATTRIBUTES if attribute.level <= level and wanted(attribute))
    return tuple(sorted(found, key=lambda attribute: attribute.tag))


def _lacking(
    level: Level, include: IncludeField, creators: dict[str, str], matched: Iterable[UnindexedAttribute]
) -> tuple[UnindexedAttribute, ...]:
    """What the index lacks of that which was asked for, and is of no lower level; by tag."""
    asked = {found for path in include.paths if (found := find_unindexed(path, creators))} | {*matched}
    return tuple(sorted((one for one in asked if one.level <= level), key=lambda one: (one.path, one.creator or "")))


def _boolean(options: dict[str, str], name: str) -> bool:
    try:
        return _BOOLEANS[options.get(name, "").lower()]
    except KeyError:
        raise BadRequest(f"{name} is neither true nor false") from None


def _unsigned(options: dict[str, str], name: str, default: int) -> int:
    text = options.get(name, "")
    if not text:
        return default
    if not _UNSIGNED.match(text):
        raise BadRequest(f"{name} is not an unsigned integer")
    digits = text.lstrip("0") or "0"
    return _LARGEST if len(digits) > 10 else min(int(digits), _LARGEST)

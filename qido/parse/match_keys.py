"""Parser for match keys: from query parameters that name attributes to conditions (PS3.18 Section 8.3.4.1)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time

from dicomweb.attribute_paths import Path, path_name
from qido.parse.attributes import BY_TAG, DATE_TIME_PAIRS, SERIES_UID, STUDY_UID, Level, Matching, SearchAttribute
from qido.parse.bounds import PATTERNS, VALUES, WORDS
from qido.parse.conditions import (
    A,
    AnyOf,
    Between,
    Condition,
    Equal,
    Fuzzy,
    Match,
    Period,
    UnindexedCondition,
    parse_matches,
)
from qido.parse.person_names import fuzzy_words
from qido.parse.unindexed import UNINDEXED_DATE_TIMES, Key, UnindexedAttribute, find_unindexed, is_creator

KEY_UNSUPPORTED = "{} cannot be matched at this level. It has been ignored."
KEY_UNBOUNDED = "{} can be matched within a study or a series only. It has been ignored."

_EXACT = frozenset({Matching.UID, Matching.CODE, Matching.ID, Matching.NUMBER, Matching.DECIMAL})


@dataclass(frozen=True)
class MatchKey:
    """A query parameter that names an attribute, with its value."""

    path: Path
    value: str


@dataclass(frozen=True)
class MatchOptions:
    """The query parameters that change how all keys are matched (PS3.18 Sections 8.3.4.2, 8.3.4.5, 8.3.4.6)."""

    empty_values: bool = False
    value_lists: bool = False
    fuzzy: bool = False


@dataclass(frozen=True)
class Matches:
    """The matches by attribute: of attributes that the index has, and of others. No match means universal matching.

    `warnings` name the keys that are ignored.
    """

    indexed: Mapping[SearchAttribute, tuple[Match, ...]]
    unindexed: Mapping[UnindexedAttribute, tuple[Match, ...]]
    warnings: tuple[str, ...]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions on attributes that the index has."""
        return _conditions(self.indexed, DATE_TIME_PAIRS)

    @property
    def unindexed_conditions(self) -> tuple[UnindexedCondition, ...]:
        """The conditions on attributes that the index lacks."""
        return _conditions(self.unindexed, UNINDEXED_DATE_TIMES)


def parse_match_keys(
    keys: Iterable[MatchKey], options: MatchOptions, level: Level, creators: Mapping[str, str], *, within_study: bool
) -> Matches:
    """Parse the match keys of a search for results of `level`; `creators` are private creators by their tags.

    BadRequest for an ill-formed value, or for more values than a search may have.
    """
    sorted_keys = _sort_keys((key for key in keys if not is_creator(key.path)), level, creators)
    indexed, unindexed = _parse_values(sorted_keys.indexed, options), _parse_values(sorted_keys.unindexed, options)
    _check_number([*indexed.items(), *unindexed.items()])
    names = dict.fromkeys(path_name(key.path) for key in sorted_keys.unsupported)
    warnings = [KEY_UNSUPPORTED.format(name) for name in names]
    if not within_study and not names_one(indexed):
        warnings += [KEY_UNBOUNDED.format(key.keyword) for key, matches in unindexed.items() if matches]
        unindexed = {key: () for key, matches in unindexed.items() if not matches}
    return Matches(indexed, unindexed, tuple(warnings))


def names_one(matches: Mapping[SearchAttribute, tuple[Match, ...]]) -> bool:
    """Whether a key names one study or one series, so that all results are within a few image sets."""
    uids = (matches.get(attribute, ()) for attribute in (STUDY_UID, SERIES_UID))
    return any(len(values) == 1 and isinstance(values[0], Equal) for values in uids)


@dataclass(frozen=True)
class _SortedKeys:
    """Match keys with their attributes: in the index, not in the index, and not supported in results of the level."""

    indexed: list[tuple[SearchAttribute, str]]
    unindexed: list[tuple[UnindexedAttribute, str]]
    unsupported: list[MatchKey]


def _sort_keys(keys: Iterable[MatchKey], level: Level, creators: Mapping[str, str]) -> _SortedKeys:
    found = _SortedKeys([], [], [])
    for key in keys:
        unindexed = find_unindexed(key.path, creators)
        indexed = BY_TAG.get(key.path[0]) if unindexed is None else None
        if unindexed and unindexed.matching is not Matching.NONE and unindexed.level <= level:
            found.unindexed.append((unindexed, key.value))
        elif indexed and indexed.matching is not Matching.NONE and indexed.level <= level:
            found.indexed.append((indexed, key.value))
        elif key.value.strip("* "):  # universal matching needs no support
            found.unsupported.append(key)
    return found


def _parse_values(keys: Iterable[tuple[A, str]], options: MatchOptions) -> dict[A, tuple[Match, ...]]:
    """Parse the values by attribute. A key that is given several times means any of its values."""
    found: dict[A, tuple[Match, ...]] = {}
    for attribute, text in keys:
        matches = parse_matches(
            attribute,
            text,
            empty_values=options.empty_values,
            value_lists=options.value_lists,
            fuzzy=options.fuzzy,
        )
        universal = not matches or found.get(attribute) == ()
        found[attribute] = () if universal else found.get(attribute, ()) + matches
    return found


def _check_number(matches: Sequence[tuple[Key, tuple[Match, ...]]]) -> None:
    """BadRequest if there are more values than a search may have."""
    all_matches = [match for _, values in matches for match in values]
    VALUES.check(all_matches)
    exact = sum(key.matching in _EXACT and isinstance(match, Equal) for key, values in matches for match in values)
    PATTERNS.check(len(all_matches) - exact)
    WORDS.check(sum(len(fuzzy_words(match.value)) for match in all_matches if isinstance(match, Fuzzy)))


def _conditions(
    matches: Mapping[A, tuple[Match, ...]], pairs: Iterable[tuple[A, A]]
) -> tuple[AnyOf[A] | Period[A], ...]:
    """The conditions that matches make; a range of dates and one of times become one of instants."""
    left = {attribute: values for attribute, values in matches.items() if values}
    periods = []
    for day, clock in pairs:
        if period := _period(day, left.get(day, ()), clock, left.get(clock, ())):
            del left[day], left[clock]
            periods.append(period)
    return (*periods, *(AnyOf(attribute, values) for attribute, values in left.items()))


def _period(day: A, days: tuple[Match, ...], clock: A, times: tuple[Match, ...]) -> Period[A] | None:
    """The combination of a range of dates and one of times, if there is one (PS3.4 Section C.2.2.2.5).

    If times have an end where the dates have none, there is no instant: such ranges are matched separately.
    """
    match (days, times):
        case ((Between(first_day, last_day),), (Between(first_time, last_time),)):
            if first_day == last_day or (first_time and not first_day) or (last_time and not last_day):
                return None
            return Period(
                day, clock, _instant(first_day, first_time, time.min), _instant(last_day, last_time, time.max)
            )
    return None


def _instant(day: date | time | None, clock: date | time | None, default: time) -> datetime | None:
    if not isinstance(day, date):
        return None
    return datetime.combine(day, clock if isinstance(clock, time) else default)

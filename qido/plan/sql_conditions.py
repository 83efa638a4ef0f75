"""Conditions of a query as SQL expressions. All texts of clients become bound parameters.

In AWS's tables, columns have blanks around their texts, texts that mean "absent", and any collation. Own tables hold
what has to be compared (`db.index_kind`).
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, time
from typing import Any, TypeVar

from sqlalchemy import Column, String, and_, bindparam, case, false, func, literal, not_, null, or_, select
from sqlalchemy.sql import ColumnElement

from db import schema
from db.comparison import (
    EMPTY_ENDS,
    exactly,
    fold,
    like,
    like_folded,
    like_plain,
    may_begin_with,
    not_after,
    not_before,
    number,
)
from db.fuzzy import has_word_like
from db.index_kind import IndexKind, by_kind, folded
from db.scope import Scope
from qido.parse.attributes import MODALITIES_IN_STUDY, MODALITY, Matching, SearchAttribute
from qido.parse.conditions import AnyOf, Between, Condition, Empty, Equal, Fuzzy, Like, Match, Parameter, Period
from qido.parse.person_names import fuzzy_words, group_patterns, literal_start
from qido.plan.tables import Truth, column_of

T = TypeVar("T")


def holds(condition: Condition, scope: Scope) -> Truth:
    """Whether a row in scope fulfils the condition. The statement must have the tables of its keys."""
    match condition:
        case AnyOf(attribute, matches) if attribute == MODALITIES_IN_STUDY:
            return _some_series(matches, scope)
        case AnyOf(attribute, matches):
            return any_of(attribute, matches)
        case Period(date, time, first, last):
            return and_(*_period(column_of(date), column_of(time), first, last))


def any_of(attribute: SearchAttribute, matches: tuple[Match, ...]) -> Truth:
    """Whether a row of the attribute's table fulfils one of `matches`."""
    return _any_of(attribute, column_of(attribute), matches)


SIBLING = schema.series.alias("sibling")
"""Another series of the same study."""


def of_study(scope: Scope) -> Truth:
    """The join of `SIBLING`: a series in scope of the study of a row."""
    return and_(SIBLING.c.study_pkey == schema.study.c.study_pkey, *scope.series_by(SIBLING.c.series_pkey))


def of_siblings(condition: Condition) -> Truth | None:
    """A condition on ModalitiesInStudy, for a statement that joins `SIBLING` by `of_study`; None for other conditions.

    With a join the database can begin with the series, if few of them have the modality.
    """
    match condition:
        case AnyOf(attribute, matches) if attribute == MODALITIES_IN_STUDY and Empty() not in matches:
            return _any_of(MODALITY, SIBLING.c[MODALITY.column], matches)
    return None


def _some_series(matches: tuple[Match, ...], scope: Scope) -> Truth:
    """ModalitiesInStudy: at least one series has a modality that matches (PS3.4 Section C.3.4); empty: none has one."""
    modality = SIBLING.c[MODALITY.column]
    found = _has_sibling(_any_of(MODALITY, modality, tuple(of for of in matches if of != Empty())), scope)
    if Empty() not in matches:
        return found
    return or_(found, not_(_has_sibling(not_(is_empty(MODALITY, modality)), scope)))


def _has_sibling(condition: Truth, scope: Scope) -> Truth:
    """Whether there is such a series.

    With the limit, MySQL looks at each study on its own. With EXISTS it would collect the series of the whole archive.
    """
    found = select(literal(1)).select_from(SIBLING).where(of_study(scope), condition).limit(1)
    return found.correlate(schema.study).scalar_subquery().is_not(None)


def _period(day: Column[Any], clock: Column[Any], first: datetime | None, last: datetime | None) -> list[Truth]:
    """The conditions of a period. All of its whole days match, also with an unknown time."""
    found: list[Truth] = []
    if first:
        found.append(day >= first.date())
    if first and first.time() > time.min:
        found.append(or_(day > first.date(), not_before(clock, first.time()), _may_be_any(clock)))
    if last:
        found.append(day <= last.date())
    if last and last.time() < time.max:
        found.append(or_(day < last.date(), not_after(clock, last.time()), _may_be_any(clock)))
    return found


def has_unknown_time(condition: Condition) -> Truth | None:
    """Whether the time that a condition is on is unknown, and decides; None for conditions on anything else."""
    match condition:
        case Period(date, time_of, first, last):
            ends = [first.date()] if first and first.time() > time.min else []
            ends += [last.date()] if last and last.time() < time.max else []
            return and_(column_of(time_of).is_(None), column_of(date).in_(ends))
        case AnyOf(attribute) if attribute.matching is Matching.TIME:
            return column_of(attribute).is_(None)
    return None


def _may_be_any(clock: ColumnElement[Any]) -> Truth:
    """Whether a time is unknown and may be any: the writer of AWS's tables loses times with a fraction."""
    return by_kind(legacy=clock.is_(None), own=false())


def _any_of(attribute: SearchAttribute, column: ColumnElement[Any], matches: tuple[Match, ...]) -> Truth:
    """Whether one of `matches` holds; `column` is that of the attribute, or an alias."""
    equal = [match.value for match in matches if isinstance(match, Equal)]
    others = [match for match in matches if not isinstance(match, Equal)]
    found = [_one_of(attribute, column, equal)] if equal else []
    found += [_one(attribute, column, match) for match in of_few_lengths(others)]
    return or_(false(), *found)


def _one_of(attribute: SearchAttribute, column: ColumnElement[Any], values: list[Any]) -> Truth:
    match attribute.matching:
        case Matching.NUMBER:
            return as_number(column).in_(values)
        case Matching.NAME | Matching.DESCRIPTION:
            return or_(*(_TEXT[attribute.matching](attribute, column, value) for value in of_few_lengths(values)))
        case _:
            if len(values) == 1 and isinstance(values[0], Parameter):
                return identical(column, values[0])
            return identical(column, values, attribute.placeholders)


def _one(attribute: SearchAttribute, column: ColumnElement[Any], match: Match) -> Truth:
    match match:
        case Equal(value):
            return _one_of(attribute, column, [value])
        case Like(pattern):
            return _TEXT[attribute.matching](attribute, column, pattern)
        case Between(first, last):
            return _between(attribute, column, first, last)
        case Empty():
            return is_empty(attribute, column)
        case Fuzzy(value):
            return or_(_name(attribute, column, value), _sounds_like(attribute, column, value))


def _between(attribute: SearchAttribute, column: ColumnElement[Any], first: Any, last: Any) -> Truth:
    if attribute.matching is Matching.DATE:
        return and_(*([column >= first] if first is not None else []), *([column <= last] if last is not None else []))
    ends = [not_before(column, first)] if first is not None else []
    ends += [not_after(column, last)] if last is not None else []
    over_midnight = first is not None and last is not None and first > last
    return or_(_may_be_any(column), or_(*ends) if over_midnight else and_(*ends))


def is_empty(attribute: SearchAttribute, column: ColumnElement[Any]) -> Truth:
    """Whether the column has no value, or one of the texts that mean "absent"."""
    if attribute.matching in (Matching.DATE, Matching.TIME) or _is_integer(column):
        return column.is_(None)
    return or_(column.is_(None), by_kind(legacy=bare(column).in_(sorted(attribute.placeholders)), own=column == ""))


def as_number(column: ColumnElement[Any]) -> ColumnElement[int]:
    """The column as an integer; some indexes have it as text."""
    return column if _is_integer(column) else number(column)


def _is_integer(column: ColumnElement[Any]) -> bool:
    return column.type.python_type is int


def of_few_lengths(items: list[T]) -> list[T]:
    """The items, with the last one repeated up to 1, 2, 4, 8... items, so that there are few different statements."""
    length = 1 << (len(items) - 1).bit_length() if items else 0
    return items + items[-1:] * (length - len(items))


def parameter_values(parameter: Parameter, texts: Sequence[str]) -> dict[str, Sequence[str]]:
    """The values, by name, of what a statement has for a parameter that stands for these texts."""
    indexed = _as_indexed(texts)
    return {parameter.name: texts, f"{parameter.name}_indexed": indexed, f"{parameter.name}_padded": _padded(indexed)}


def identical(
    column: ColumnElement[str], values: Sequence[str] | Parameter, absent: Collection[str] = frozenset()
) -> Truth:
    """Whether the column equals one of `values` exactly, apart from blanks around it. Indexes of the column help.

    Texts that mean "absent" are `absent`. They equal no column of AWS's tables.
    """
    if isinstance(values, Parameter):
        texts, indexed, padded = (
            bindparam(name, expanding=True, type_=String()) for name in parameter_values(values, ())
        )
        return by_kind(legacy=and_(column.in_(padded), bare(column).in_(indexed)), own=column.in_(texts))
    held = _as_indexed([value for value in values if value not in absent])
    legacy = and_(column.in_(_padded(held)), bare(column).in_(held)) if held else false()
    return by_kind(legacy=legacy, own=column.in_(values))


def _as_indexed(texts: Sequence[str]) -> Sequence[str]:
    """The texts as columns of AWS's tables hold them: longer ones, such as UIDs, are truncated."""
    return [held for text in texts for held in IndexKind.LEGACY.held_uids(text)]


def _padded(values: Sequence[str]) -> list[str]:
    """The texts, each also with a blank after it, since values have an even length (PS3.5 Section 6.2)."""
    return [text for value in values for text in (value, f"{value} ")]


def _text_exactly(attribute: SearchAttribute, column: ColumnElement[str], pattern: str) -> Truth:
    begins = _begins(column, literal_start(pattern))
    legacy = and_(like(func.trim(column), pattern), *begins, _no_placeholder(attribute, column))
    return by_kind(legacy=legacy, own=like_plain(column, pattern))


def _text_folded(attribute: SearchAttribute, column: ColumnElement[str], pattern: str) -> Truth:
    legacy = and_(like_folded(func.trim(column), pattern), _no_placeholder(attribute, column))
    return by_kind(legacy=legacy, own=like_plain(folded(column), fold(pattern)))


def _name(attribute: SearchAttribute, column: ColumnElement[str], pattern: str) -> Truth:
    """Whether a component group of the name matches, or several in a row."""
    patterns, start = group_patterns(pattern)
    groups = literal("=") + func.trim(column) + literal("=")
    for delimiters in EMPTY_ENDS:
        groups = func.replace(groups, delimiters, "=")
    found = or_(false(), *(like_folded(groups, wanted) for wanted in patterns))
    indexed = isinstance(column, Column) and column.index  # without an index it would only depend on the collation
    legacy = and_(found, *(_begins(column, start) if indexed else []), _no_placeholder(attribute, column))
    return by_kind(legacy=legacy, own=or_(false(), *(like_plain(folded(column), fold(wanted)) for wanted in patterns)))


def _sounds_like(attribute: SearchAttribute, column: ColumnElement[str], text: str) -> Truth:
    """Whether the name has each word of `text`, in any group and order. Wildcards count at the ends of words only."""
    words = fuzzy_words(text)
    if not words:
        return false()
    legacy = and_(_no_placeholder(attribute, column), *(has_word_like(column, word) for word in words))
    return by_kind(legacy=legacy, own=and_(*(has_word_like(folded(column), word) for word in words)))


def _begins(column: ColumnElement[str], start: str) -> list[Truth]:
    return [may_begin_with(column, start)] if start else []


def _no_placeholder(attribute: SearchAttribute, column: ColumnElement[str]) -> Truth:
    """Excludes the texts that mean "absent" from the matches of a pattern."""
    return bare(column).not_in(sorted(attribute.placeholders))


def bare(column: ColumnElement[str]) -> ColumnElement[str]:
    """The text of a column of AWS's tables without blanks around it, for an exact comparison."""
    return exactly(func.trim(column))


def sortable(attribute: SearchAttribute, column: ColumnElement[str]) -> ColumnElement[Any]:
    """The text by which results are ordered: names and descriptions in either case, others exactly; NULL if unknown."""
    either_case = attribute.matching in (Matching.NAME, Matching.DESCRIPTION)
    text = func.lower(func.trim(column)) if either_case else bare(column)
    own = folded(column) if either_case else case((column != "", column), else_=null())
    return by_kind(legacy=case((not_(is_empty(attribute, column)), text)), own=own)


_TEXT: dict[Matching, Callable[[SearchAttribute, ColumnElement[str], str], Truth]] = {
    Matching.CODE: _text_exactly,
    Matching.ID: _text_exactly,
    Matching.DESCRIPTION: _text_folded,
    Matching.NAME: _name,
}

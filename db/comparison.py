"""Comparisons that mean the same in every database, whatever its collations.

The index's columns have the collation of the server that made them. Stock MySQL compares without case and accents, so
`a = b` is too liberal for IDs; SQLite and PostgreSQL compare bytes, so `LIKE` is too strict for names. Patterns are
those of DICOM: `*` is any run of characters, `?` exactly one (PS3.4 Section C.2.2.2.4); all else stands for itself.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from datetime import time, timedelta
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Boolean, Dialect, String, Time, TypeDecorator, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from db.index_kind import by_kind

_WILDCARDS = re.compile(r"[*?]")
_MARKS = re.compile("[\u0300-\u036f]")
_LIKE_ESCAPES = str.maketrans({"!": "!!", "%": "!%", "_": "!_", "*": "%", "?": "_"})


EMPTY_ENDS = ("^^=", "^^=", "^=")
"""Texts that become `=`, one after the other, in a name between two `=`: empty components at the end of a group."""


class _Pattern(TypeDecorator[str]):
    """A DICOM pattern as a bound value, in the pattern language of the database's operator."""

    impl = String
    cache_ok = True

    def __init__(self, folded: bool) -> None:
        super().__init__()
        self.folded = folded

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        if dialect.name == "sqlite":
            return _glob(value, self.folded)
        if dialect.name == "postgresql" and self.folded:
            return _regular_expression(value)
        return value.translate(_LIKE_ESCAPES)


class _WholeSeconds(TypeDecorator[time]):
    """A time as a bound value, for MySQL without its fraction, which MySQL would round before it compares.

    Columns of AWS's tables have no fractions: a time is not after 10:30:14.9 if it is not after 10:30:14.
    """

    impl = Time
    cache_ok = True

    def __init__(self, up: bool) -> None:
        super().__init__()
        self.up = up

    def process_bind_param(self, value: time | None, dialect: Dialect) -> Any:
        if value is None or not value.microsecond or dialect.name not in ("mysql", "mariadb"):
            return value
        seconds = value.hour * 3600 + value.minute * 60 + value.second + self.up
        return timedelta(seconds=seconds)  # up to 24:00:00, which is no time


def fold(text: str) -> str:
    """Lower case without accents. A search for a name takes two texts for the same if this is the same."""
    return unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", text))).lower()


def fold_name(name: str) -> str:
    """A folded person name between two `=`, without empty components at the end of its groups.

    In it, a pattern such as `=doe^j*=*` finds a component group, and an index finds the beginning of a name.
    """
    groups = f"={fold(name)}="
    for delimiters in EMPTY_ENDS:
        groups = groups.replace(delimiters, "=")
    return groups


def _glob(pattern: str, folded: bool) -> str:
    return "".join(f"[{letters}]" if (letters := _letters(char, folded)) else char for char in pattern)


def _regular_expression(pattern: str) -> str:
    wildcards = {"*": ".*", "?": "."}
    parts = (
        f"[{letters}]" if (letters := _letters(char, folded=True)) else wildcards.get(char) or re.escape(char)
        for char in pattern
    )
    return f"^{''.join(parts)}$"


def _letters(char: str, folded: bool) -> str:
    """The letters of the character class that matches `char`; "" if it needs no class."""
    if char == "[":
        return char
    return spellings(char) if folded else ""


def spellings(char: str) -> str:
    """All letters that equal `char` except for case and accents; "" if it has neither."""
    return _spellings().get(fold(char), "")


@cache
def _spellings() -> Mapping[str, str]:
    """For each folded letter of the scripts with case or accents: all letters that fold to it."""
    letters: defaultdict[str, str] = defaultdict(str)
    for char in map(chr, (*range(0x41, 0x588), *range(0x1E00, 0x2000))):  # Latin, Greek, Cyrillic, Armenian
        if char.isalpha():
            letters[fold(char)] += char
    return letters


class _Exactly(FunctionElement[str]):
    type = String()
    inherit_cache = True
    name = "exactly"


class _Compared(FunctionElement[bool]):
    """A comparison in parentheses; SQLAlchemy would write `... = 1` after it, which no index can answer."""

    type = Boolean()

    def self_group(self, against: Any = None) -> Any:
        return self


class _LikeExactly(_Compared):
    name = "like_exactly"
    inherit_cache = True


class _LikePlain(_Compared):
    name = "like_plain"
    inherit_cache = True


class _LikeFolded(_Compared):
    name = "like_folded"
    inherit_cache = True


class _LikeByIndex(_Compared):
    """A condition that an index of the column can answer; always true if no index can."""

    name = "like_by_index"
    inherit_cache = True


class _Number(FunctionElement[int]):
    type = BigInteger()
    inherit_cache = True
    name = "number"


class _Listed(FunctionElement[str]):
    type = String()
    inherit_cache = True
    name = "listed"


class _NewestFirst(FunctionElement[Any]):
    inherit_cache = True
    name = "newest_first"


def exactly(text: ColumnElement[str]) -> ColumnElement[str]:
    """`text` for a comparison in which case and accents count."""
    return _Exactly(text)


def like(text: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    """Whether `pattern` matches the whole of `text`, case and accents included."""
    return _LikeExactly(text, bindparam(None, pattern, _Pattern(folded=False), unique=True))


def like_plain(text: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    """Whether `pattern` matches the whole of a column that compares exactly by itself. An index finds a beginning."""
    return _LikePlain(text, bindparam(None, pattern, _Pattern(folded=False), unique=True))


def like_folded(text: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    """Whether `pattern` matches the whole of `text`, whatever the case and the accents.

    MySQL decides by its collation utf8mb4_unicode_520_ci, the others by `fold`, letter by letter.
    """
    return _LikeFolded(text, bindparam(None, pattern, _Pattern(folded=True), unique=True))


def may_begin_with(text: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """A condition that is true wherever `text` begins with `prefix`, and cheap with an index of `text`.

    It only narrows a search: in MySQL to texts with the prefix by its collation, elsewhere not at all.
    """
    pattern = _WILDCARDS.sub("?", prefix) + "*"
    return _LikeByIndex(text, bindparam(None, pattern, _Pattern(folded=False), unique=True))


def not_before(clock: ColumnElement[time], first: time) -> ColumnElement[bool]:
    """Whether the time is `first` or later."""
    legacy = clock >= bindparam(None, first, _WholeSeconds(up=True), unique=True)
    return by_kind(legacy=legacy, own=clock >= bindparam(None, first, Time(), unique=True))


def not_after(clock: ColumnElement[time], last: time) -> ColumnElement[bool]:
    """Whether the time is `last` or earlier."""
    legacy = clock <= bindparam(None, last, _WholeSeconds(up=False), unique=True)
    return by_kind(legacy=legacy, own=clock <= bindparam(None, last, Time(), unique=True))


def number(text: ColumnElement[str]) -> ColumnElement[int]:
    """The integer that `text` spells (VR IS: a sign, zeros and blanks around it are of no account), else NULL."""
    return _Number(text)


def listed(text: ColumnElement[str]) -> ColumnElement[str]:
    """The texts of all rows of a group, in no order, with line feeds between them; NULL if there is none."""
    return _Listed(text)


def newest_first(moment: ColumnElement[Any]) -> ColumnElement[Any]:
    """The descending order of a date or time in which the unknown ones come last."""
    return _NewestFirst(moment)


def _operands(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> tuple[str, ...]:
    return tuple(compiler.process(clause, **options) for clause in element.clauses)


@compiles(_Exactly)
def _as_it_is(element: _Exactly, compiler: SQLCompiler, **options: Any) -> str:
    return _operands(element, compiler, **options)[0]


@compiles(_Exactly, "mysql", "mariadb")
def _exactly_in_mysql(element: _Exactly, compiler: SQLCompiler, **options: Any) -> str:
    return f"CONVERT({_operands(element, compiler, **options)[0]} USING utf8mb4) COLLATE utf8mb4_bin"


@compiles(_LikeExactly)
@compiles(_LikePlain)
def _like(element: _Compared, compiler: SQLCompiler, **options: Any) -> str:
    text, pattern = _operands(element, compiler, **options)
    return f"({text} LIKE {pattern} ESCAPE '!')"


@compiles(_LikeExactly, "mysql", "mariadb")
def _like_in_mysql(element: _LikeExactly, compiler: SQLCompiler, **options: Any) -> str:
    text, pattern = _operands(element, compiler, **options)
    return f"(CONVERT({text} USING utf8mb4) COLLATE utf8mb4_bin LIKE {pattern} ESCAPE '!')"


@compiles(_LikeExactly, "sqlite")
@compiles(_LikePlain, "sqlite")
@compiles(_LikeFolded, "sqlite")
def _glob_in_sqlite(element: _Compared, compiler: SQLCompiler, **options: Any) -> str:
    text, pattern = _operands(element, compiler, **options)
    return f"({text} GLOB {pattern})"


@compiles(_LikeFolded, "mysql", "mariadb")
def _like_folded_in_mysql(element: _LikeFolded, compiler: SQLCompiler, **options: Any) -> str:
    text, pattern = _operands(element, compiler, **options)
    return f"(CONVERT({text} USING utf8mb4) COLLATE utf8mb4_unicode_520_ci LIKE {pattern} ESCAPE '!')"


@compiles(_LikeFolded, "postgresql")
def _like_folded_in_postgresql(element: _LikeFolded, compiler: SQLCompiler, **options: Any) -> str:
    text, pattern = _operands(element, compiler, **options)
    return f"({text} ~ {pattern})"


@compiles(_LikeByIndex)
def _no_index(_element: _LikeByIndex, _compiler: SQLCompiler, **_options: Any) -> str:
    return "(1 = 1)"


@compiles(_LikeByIndex, "mysql", "mariadb")
def _like_by_index_in_mysql(element: _LikeByIndex, compiler: SQLCompiler, **options: Any) -> str:
    text, pattern = _operands(element, compiler, **options)
    return f"({text} LIKE {pattern} ESCAPE '!')"


@compiles(_Number, "sqlite")
def _number_in_sqlite(element: _Number, compiler: SQLCompiler, **options: Any) -> str:
    (text,) = _operands(element, compiler, **options)
    digits = f"substr(trim({text}), 1 + (substr(trim({text}), 1, 1) IN ('+', '-')))"
    return f"CASE WHEN {digits} <> '' AND {digits} NOT GLOB '*[^0-9]*' THEN CAST(trim({text}) AS INTEGER) END"


@compiles(_Number, "mysql", "mariadb")
def _number_in_mysql(element: _Number, compiler: SQLCompiler, **options: Any) -> str:
    (text,) = _operands(element, compiler, **options)
    return f"CASE WHEN trim({text}) REGEXP '^[+-]?[0-9]+$' THEN CAST(trim({text}) AS SIGNED) END"


@compiles(_Number, "postgresql")
def _number_in_postgresql(element: _Number, compiler: SQLCompiler, **options: Any) -> str:
    (text,) = _operands(element, compiler, **options)
    return f"CASE WHEN trim({text}) ~ '^[+-]?[0-9]+$' THEN CAST(trim({text}) AS BIGINT) END"


@compiles(_Listed, "mysql", "mariadb")
def _listed_in_mysql(element: _Listed, compiler: SQLCompiler, **options: Any) -> str:
    return f"GROUP_CONCAT({_operands(element, compiler, **options)[0]} SEPARATOR 0x0A)"


@compiles(_Listed, "sqlite")
def _listed_in_sqlite(element: _Listed, compiler: SQLCompiler, **options: Any) -> str:
    return f"group_concat({_operands(element, compiler, **options)[0]}, char(10))"


@compiles(_Listed, "postgresql")
def _listed_in_postgresql(element: _Listed, compiler: SQLCompiler, **options: Any) -> str:
    return f"string_agg({_operands(element, compiler, **options)[0]}, chr(10))"


@compiles(_NewestFirst)
def _descending(element: _NewestFirst, compiler: SQLCompiler, **options: Any) -> str:
    return f"{_operands(element, compiler, **options)[0]} DESC"


@compiles(_NewestFirst, "postgresql")
def _descending_in_postgresql(element: _NewestFirst, compiler: SQLCompiler, **options: Any) -> str:
    return f"{_operands(element, compiler, **options)[0]} DESC NULLS LAST"

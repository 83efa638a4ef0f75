"""Fuzzy matching of names: words that begin alike or sound alike, by regular expressions that every database runs.

The SOUNDEX of databases is not used: PostgreSQL and SQLite have none, and none compares single words. A pattern has the
first letter of the word, then its consonants by the classes of Soundex, with any vowels between. Adjacent parts of a
pattern match different letters, so no name makes a search slow.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import Boolean, String, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from db.comparison import fold, spellings

_BEGINS = "(^|[-^= ])"
_ENDS = "($|[-^= ])"
_VOWELS = "aeiouyhw"  # and silent letters
_CONSONANTS = ("bfpv", "cgjkqsxz", "dt", "l", "mn", "r")
_CLASSES = {letter: letters for letters in (*_CONSONANTS, _VOWELS) for letter in letters}


class _Regular(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True
    name = "regular"

    def self_group(self, against: Any = None) -> Any:
        return self


def has_word_like(text: ColumnElement[str], word: str) -> ColumnElement[bool]:
    """Whether a word of `text` begins with `word` or sounds like it, whatever the case and the accents.

    Words of `text` are separated by `^`, `=`, blanks and hyphens; `word` has none of these.
    """
    return _Regular(text, bindparam(None, word_pattern(word), String(), unique=True))


def word_pattern(word: str) -> str:
    """The regular expression of `has_word_like`, in the syntax that PCRE, ICU, PostgreSQL and Python share."""
    folded = fold(unicodedata.normalize("NFC", word))
    begin = "".join(f"[{letters}]" if (letters := spellings(char)) else re.escape(char) for char in folded)
    if not folded or not _CLASSES.keys() >= set(folded):  # a script of which we do not know how it sounds
        return f"{_BEGINS}{begin}"
    return f"{_BEGINS}({begin}|{''.join(_sounds(folded))}{_ENDS})"


def _sounds(folded: str) -> Iterator[str]:
    first, vowels = folded[0], _any_of(_VOWELS)
    yield f"[{spellings(first)}]"
    before, *classes = (letters for letters, _ in groupby(folded, key=lambda letter: _CLASSES[letter]))
    if before != _VOWELS:
        yield f"{_any_of(before)}*"
    for letters in classes:
        if letters != _VOWELS:
            yield f"{vowels}{'+' if letters == before else '*'}{_any_of(letters)}+"  # the same twice is heard if apart
            before = letters
    yield f"{vowels}*"


def _any_of(letters: str) -> str:
    return f"[{''.join(map(spellings, letters))}]"


def search_in_sqlite(pattern: str, text: str | None) -> bool:
    """Implements REGEXP in SQLite, which passes the right operand first."""
    return text is not None and re.search(pattern, text) is not None


@compiles(_Regular)
def _regexp(element: _Regular, compiler: SQLCompiler, **options: Any) -> str:
    text, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({text} REGEXP {pattern})"


@compiles(_Regular, "mysql", "mariadb")
def _regexp_in_mysql(element: _Regular, compiler: SQLCompiler, **options: Any) -> str:
    text, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    return f"(CONVERT({text} USING utf8mb4) COLLATE utf8mb4_bin REGEXP {pattern})"


@compiles(_Regular, "postgresql")
def _regexp_in_postgresql(element: _Regular, compiler: SQLCompiler, **options: Any) -> str:
    text, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({text} ~ {pattern})"

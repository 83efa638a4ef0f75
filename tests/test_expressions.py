"""No regular expression that hostile text reaches takes a time that grows faster than the text.

Each expression of our packages, and each of waitress, werkzeug and others that reads requests, is given texts that
nearly match: examples of what it matches, with a long run of some characters at each place.
"""

import ast
import importlib
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice, product
from pathlib import Path
from types import FrameType
from typing import Any, cast

import pytest
from waitress.rfc7230 import HEADER_FIELD_RE
from werkzeug.http import parse_cookie, parse_options_header

from db.fuzzy import word_pattern
from qido.image_sets.matching import _glob as glob_pattern
from tests.growth import grows_linearly, seconds_of

if sys.version_info >= (3, 11):
    from re import _parser as parser
else:
    import sre_parse as parser

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "qido", "wado", "db", "ahi", "dicomweb", "runtime")
FOREIGN = (
    "waitress.rfc7230",
    "waitress.parser",
    "waitress.utilities",
    "werkzeug.http",
    "werkzeug.sansio.http",
    "werkzeug.sansio.utils",
    "werkzeug.sansio.request",
    "werkzeug.urls",
    "werkzeug.utils",
    "werkzeug.routing.map",
    "werkzeug.routing.rules",
    "werkzeug.routing.converters",
    "werkzeug._internal",
    "werkzeug.datastructures.structures",
    "werkzeug.wrappers.request",
    "jwt.api_jwt",
    "jwt.utils",
    "itsdangerous.serializer",
    "opentelemetry.trace.propagation.tracecontext",
    "opentelemetry.trace.span",
    "urllib.parse",
)
TAKEN_WHOLE = ("opentelemetry", "waitress")
"""What searches for none of its expressions."""

NOT_REACHED = {
    ("waitress.rfc7230", "HEADER_FIELD_RE"): "gets only what app/server/request_head.py found in order, see below",
    ("waitress.parser", "HEADER_FIELD_RE"): "gets only what app/server/request_head.py found in order, see below",
    ("waitress.parser", "first_line_re"): "gets only what app/server/request_head.py found in order, see below",
    ("werkzeug.http", "_parameter_key_re"): "part of a function that is tested as a whole, see below",
    ("werkzeug.http", "_charset_value_re"): "the same",
    ("werkzeug.sansio.http", "_cookie_re"): "the same",
    ("werkzeug.http", "_etag_re"): "nobody asks for entity tags in pieces, see below",
    ("werkzeug.sansio.http", "_etag_re"): "the same",
    ("werkzeug.utils", "_entity_re"): "used for no text of a client",
    ("werkzeug.routing.map", "_simple_rule_re"): "reads our own rules",
    ("werkzeug.routing.rules", "_simple_rule_re"): "the same",
    ("werkzeug.routing.rules", "_converter_args_re"): "the same",
}
MADE = {"db/fuzzy.py", "qido/image_sets/matching.py"}
"""Modules whose expressions are made of what a client sends; what makes them is tested below."""

LONG = 8192
SUSPICIOUS_SECONDS = 0.005
LARGEST = 2**15
WORKS: dict[str, Callable[[re.Pattern[Any], Any], object]] = {
    "match": lambda pattern, text: pattern.match(text),
    "fullmatch": lambda pattern, text: pattern.fullmatch(text),
    "search": lambda pattern, text: pattern.search(text),
    "findall": lambda pattern, text: pattern.findall(text),
    "finditer": lambda pattern, text: list(pattern.finditer(text)),
    "sub": lambda pattern, text: pattern.sub(lambda found: "" if isinstance(text, str) else b"", text),
    "split": lambda pattern, text: pattern.split(text),
}


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def calls_of_re(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=name)) if name in {*WORKS, "compile"}:
                yield node


def ours() -> Iterator[Any]:
    """Each expression of ours, with what is done with it."""
    for path in modules():
        relative = path.relative_to(ROOT)
        tree = ast.parse(path.read_text())
        module = importlib.import_module(".".join(relative.with_suffix("").parts).removesuffix(".__init__"))
        used: dict[str, set[str]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in WORKS:
                used.setdefault(node.value.id, set()).add(node.attr)
        compiled = {name: value for name, value in vars(module).items() if isinstance(value, re.Pattern)}
        for name, pattern in compiled.items():
            for method in sorted(used.get(name, ())):
                yield pytest.param(pattern, method, id=f"{relative}:{name}.{method}")
        for call in calls_of_re(tree):
            literal = call.args[0]
            if call.func.attr != "compile" and isinstance(literal, ast.Constant):  # type: ignore[attr-defined]
                method = call.func.attr  # type: ignore[attr-defined]
                pattern = re.compile(cast(str, literal.value))
                yield pytest.param(pattern, method, id=f"{relative}:{call.lineno}.{method}")


def foreign() -> Iterator[Any]:
    for name in FOREIGN:
        found = vars(importlib.import_module(name)).items()
        for attribute, pattern in found:
            if isinstance(pattern, re.Pattern) and (name, attribute) not in NOT_REACHED:
                for method in ("match", "fullmatch") if name.startswith(TAKEN_WHOLE) else ("match", "search"):
                    yield pytest.param(pattern, method, id=f"{name}:{attribute}.{method}")


def test_every_expression_is_compiled_once_or_made_where_that_is_tested() -> None:
    """Else the walk above does not find it."""
    for path in modules():
        tree = ast.parse(path.read_text())
        at_top = {
            id(node) for statement in tree.body if isinstance(statement, ast.Assign) for node in ast.walk(statement)
        }
        for call in calls_of_re(tree):
            literal = isinstance(call.args[0], ast.Constant) and call.func.attr != "compile"  # type: ignore[attr-defined]
            assert literal or id(call) in at_top or str(path.relative_to(ROOT)) in MADE, f"{path}:{call.lineno}"


ASKED_OF_A_REQUEST = {
    *("method", "path", "query_string", "args", "headers", "environ", "remote_addr", "scheme", "url", "user_agent"),
    *("get_data", "content_length", "blueprint", "view_args", "url_rule"),
    *("cookies", "form", "values", "script_root", "full_path"),
}


def test_nothing_else_is_asked_of_a_request() -> None:
    """What werkzeug would read by expressions that are not tested here: entity tags, media types."""
    for path in modules():
        tree = ast.parse(path.read_text())
        imported = {
            one.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for one in node.names
            if node.module == "flask"
        }
        for node in ast.walk(tree) if "request" in imported else ():
            match node:
                case ast.Attribute(value=ast.Name(id="request"), attr=name):
                    assert name in ASKED_OF_A_REQUEST, f"{path}:{node.lineno}"


def characters_of(tree: Any) -> Iterator[str]:
    """A character for each literal and each kind of characters of an expression."""
    for operator, argument in tree:
        match str(operator):
            case "LITERAL" | "NOT_LITERAL":
                yield chr(argument)
            case "IN":
                yield from islice((one for item in argument if (one := _character(item))), 2)
            case "BRANCH":
                for branch in argument[1]:
                    yield from characters_of(branch)
            case "SUBPATTERN":
                yield from characters_of(argument[3])
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                yield from characters_of(argument[2])
            case "ASSERT" | "ASSERT_NOT":
                yield from characters_of(argument[1])
            case "ANY":
                yield "x"


def _character(item: tuple[Any, Any]) -> str:
    kind, value = str(item[0]), item[1]
    if kind == "LITERAL":
        return chr(value)
    if kind == "RANGE":
        return chr(value[1])
    return {"CATEGORY_SPACE": " ", "CATEGORY_DIGIT": "7", "CATEGORY_WORD": "w"}.get(str(value), "")


def examples_of(tree: Any) -> list[str]:
    """A few texts that an expression nearly matches: of each choice the first and the last, repeated once."""
    found = [""]
    for operator, argument in tree:
        match str(operator):
            case "LITERAL":
                parts = [chr(argument)]
            case "NOT_LITERAL" | "ANY":
                parts = ["x"]
            case "IN":
                parts = [next((one for item in argument if (one := _character(item))), "x")]
            case "BRANCH":
                parts = [text for branch in (argument[1][0], argument[1][-1]) for text in examples_of(branch)[:2]]
            case "SUBPATTERN":
                parts = examples_of(argument[3])
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                parts = examples_of(argument[2])
                parts = [text * min(max(argument[0], 1), 64) for text in parts] + ([""] if argument[0] == 0 else [])
            case _:
                parts = [""]
        found = [text + part for text, part in product(found, parts)][:4]
    return found


def texts_of(pattern: re.Pattern[Any]) -> Iterator[Callable[[int], Any]]:
    """Makers of texts of a length that nearly match."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree = parser.parse(source, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags)
    letters = list(dict.fromkeys([" ", *characters_of(tree)]))[:12]
    units = [*letters, *("".join(pair) for pair in product(letters[:7], repeat=2) if pair[0] != pair[1])]
    samples = [text for text in examples_of(tree) if len(text) <= 200]
    wholes = ["".join(part) + end for part in zip(samples, strict=False) for end in ("", " ", ",", ";")]
    starts = dict.fromkeys([*((text[:at], text[at:]) for text in samples for at in range(min(len(text), 16) + 1))])
    for unit in dict.fromkeys([*units, *filter(None, wholes)]):
        for before, after in starts:
            for end in dict.fromkeys([after, "\0", ""]):
                yield _maker(before, unit, end, pattern)


def _maker(before: str, unit: str, after: str, pattern: re.Pattern[Any]) -> Callable[[int], Any]:
    def make(length: int) -> Any:
        text = before + unit * (length // len(unit)) + after
        return text if isinstance(pattern.pattern, str) else text.encode("latin-1", errors="replace")

    return make


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """End what takes longer, in time of the processor: an expression of exponential time would take for ever."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError("it does not come to an end")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def check(pattern: re.Pattern[Any], method: str) -> None:
    """Fail if there is a text for which the time grows faster than its length."""
    work = WORKS[method]
    for make in texts_of(pattern):
        short, text = make(24), make(LONG)
        with at_most(5):
            work(pattern, short)
            began = time.thread_time()
            work(pattern, text)
            seconds = time.thread_time() - began
        if seconds > SUSPICIOUS_SECONDS and seconds_of(lambda: work(pattern, text)) > SUSPICIOUS_SECONDS:  # noqa: B023
            with at_most(60):
                grows_linearly(lambda length: _doing(work, pattern, make(length)), LARGEST)  # noqa: B023


def _doing(work: Callable[[re.Pattern[Any], Any], object], pattern: re.Pattern[Any], text: Any) -> Callable[[], object]:
    return lambda: work(pattern, text)


@pytest.mark.parametrize(("pattern", "method"), [*ours(), *foreign()])
@pytest.mark.slow
def test_the_time_of_an_expression_grows_with_the_text(pattern: re.Pattern[Any], method: str) -> None:
    check(pattern, method)


@pytest.mark.parametrize("word", ["a", "anna", "hhhhh", "schmidt", "bcdlmr" * 30, "é" * 60, "山田", "a" * 200])
@pytest.mark.slow
def test_the_time_of_an_expression_for_a_word_grows_with_the_name(word: str) -> None:
    check(re.compile(word_pattern(word)), "search")


@pytest.mark.parametrize("pattern", ["*a" * 90 + "*", "*a?" * 60 + "b", "*?" * 90, "?*" * 90, "*ab" * 60, "a" * 200])
def test_the_time_of_a_wildcard_grows_with_the_text(pattern: str) -> None:
    expression = glob_pattern(pattern)
    for unit in ("a", "b", "ab", "aab", "?"):
        with at_most(60):
            grows_linearly(lambda length: lambda: expression.match(unit * (length // len(unit))), LARGEST)  # noqa: B023


@pytest.mark.slow
@pytest.mark.parametrize("read", [parse_cookie, parse_options_header])
@pytest.mark.parametrize("start", ["", 'a="', "a=b; a*0*='"])
def test_the_time_to_read_a_header_grows_with_its_length(read: Callable[[str], object], start: str) -> None:
    """The heads of forms, and cookies: werkzeug takes them apart by several expressions."""
    letters = "a =\";,\\*'%"
    for unit in (*letters, *map("".join, product(letters, repeat=2)), '";a="', ';a="', '\\";'):
        text = start + unit * (LONG // len(unit))
        with at_most(60):
            if seconds_of(lambda: read(text)) > SUSPICIOUS_SECONDS:  # noqa: B023
                grows_linearly(lambda length: lambda: read(start + unit * (length // len(unit))), LARGEST)  # noqa: B023


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        pytest.param(re.compile(r"a*a*b"), "match", id="polynomial"),
        pytest.param(re.compile(r"x[ab]+[ab]+;"), "match", id="two ways for one text"),
        pytest.param(re.compile(r"(a|aa)+;"), "match", id="exponential"),
        pytest.param(re.compile(r"[a-z]+="), "search", id="from each place again"),
        pytest.param(HEADER_FIELD_RE, "match", id="headers of waitress"),
    ],
)
def test_expressions_that_take_too_long_are_found(pattern: re.Pattern[Any], method: str) -> None:
    with at_most(100), pytest.raises(AssertionError):
        check(pattern, method)

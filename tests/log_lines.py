"""The lines that the program logs at WARNING or ERROR, and those that doc/operations.md explains."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
OURS = sorted({path.parent for path in ROOT.glob("*/__init__.py")} - {ROOT / "tests", ROOT / "bench"})
LEVELS = {"warning": "WARNING", "error": "ERROR", "critical": "ERROR"}
_PLACE = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[a-z]")

SECTION = (ROOT / "doc" / "operations.md").read_text().partition("\n## Log lines\n")[2].partition("\n## ")[0]
EXPLAINED = re.findall(r"^\| (WARNING|ERROR) \| `([^`]+)` \| [^|]+ \| [^|]+ \|$", SECTION, re.MULTILINE)
"""The level of each line, and how it begins."""


def calls_of_methods(module: ast.AST) -> Iterator[tuple[ast.Call, str, str]]:
    """All calls of methods, with the object and the name of the method."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node, ast.unparse(node.func.value), node.func.attr


def _texts(node: ast.AST, module: ast.Module) -> Iterator[str]:
    """The texts that an expression may have, with `…` for what is put in; of a name, what is assigned to it."""
    match node:
        case ast.Constant(value=str(text)):
            yield _PLACE.sub("…", text)
        case ast.JoinedStr(values=parts):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
        case ast.IfExp(body=body, orelse=orelse):
            yield from (text for branch in (body, orelse) for text in _texts(branch, module))
        case ast.BinOp(op=ast.Mod(), left=left):
            yield from _texts(left, module)
        case ast.Name(id=name):
            for one in module.body:
                if isinstance(one, ast.Assign) and name in map(ast.unparse, one.targets):
                    yield from _texts(one.value, module)


def _passed_to_function_of(call: ast.Call, module: ast.Module) -> Iterator[str]:
    """The texts that are the first argument of the method which has the call, of all that call it."""
    functions = (node for node in ast.walk(module) if isinstance(node, ast.FunctionDef))
    (function,) = [one for one in functions if call in ast.walk(one)]
    for caller, owner, name in calls_of_methods(module):
        if (owner, name) == ("self", function.name):
            yield from [*_texts(caller.args[0], module)] or _passed_to_function_of(caller, module)


def logged(source: str) -> Iterator[tuple[str, str]]:
    """The level and the text of each log call of a module, but for those with a traceback."""
    module = ast.parse(source)
    for call, owner, name in calls_of_methods(module):
        if owner == "log" and name in LEVELS and "exc_info" not in {one.arg for one in call.keywords}:
            for text in _texts(call.args[0], module):
                is_passed = text.startswith("…") and isinstance(call.args[1], ast.Name)
                starts = _passed_to_function_of(call, module) if is_passed else ["…"]
                yield from ((LEVELS[name], text.replace("…", start, 1) if is_passed else text) for start in starts)


SOURCES = {str(path.relative_to(ROOT)): path.read_text() for folder in OURS for path in sorted(folder.rglob("*.py"))}
LOGGED = {line: path for path, source in SOURCES.items() for line in logged(source)}


def explanations(level: str, text: str) -> list[str]:
    return [line for one, line in EXPLAINED if one == level and text.startswith(line.rstrip("…"))]

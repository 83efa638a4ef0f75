"""Imports point one way, and what only some may know stays with them. The folders are the architecture."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {  # package: the packages of ours that it may import, itself aside
    "main": {"app", "datastore"},
    "app": {"qido", "wado", "ahi", "db", "dicomweb"},
    "qido": {"ahi", "db", "dicomweb"},
    "wado": {"ahi", "db", "dicomweb"},
    "ahi": {"dicomweb"},
    "db": {"dicomweb"},
    "datastore": {"db", "dicomweb"},
    "dicomweb": set(),
}

CODECS = ("imagecodecs", "pylibjpeg", "openjpeg", "libjpeg", "rle")
ONLY = {  # library: the folders and files that may know it
    "flask": ("app", "dicomweb/respond.py", "*/routes.py"),
    "werkzeug": ("app", "dicomweb/respond.py", "*/routes.py"),
    "waitress": ("app", "datastore/server.py", "datastore/effects.py"),
    "boto3": ("ahi", "datastore", "db/secret.py"),
    "botocore": ("ahi", "datastore", "db/secret.py"),
    "sqlalchemy": ("db", "qido/plan*.py", "datastore/index*.py", "app/service.py"),  # the last: a URL, no SQL
    "opentelemetry": ("app/spans.py",),
    "backports": ("dicomweb/encoding.py",),
    "pymysql": ("db/drivers.py",),
    "psycopg": ("db/drivers.py",),
    **dict.fromkeys(CODECS, ("ahi", "datastore")),
}

MODULES = [
    path
    for package in MAY_IMPORT
    for path in ([ROOT / "main.py"] if package == "main" else sorted((ROOT / package).rglob("*.py")))
]


def imports(module: Path) -> set[str]:
    """The full names of all that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            found.add(str(node.module))
    return found


def named(module: Path) -> str:
    return str(module.relative_to(ROOT))


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_imports_point_one_way(module: Path) -> None:
    package = named(module).removesuffix(".py").split("/")[0]
    ours = {name.split(".")[0] for name in imports(module)} & MAY_IMPORT.keys()
    assert ours <= MAY_IMPORT[package] | {package}


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_library_is_known_only_where_it_should_be(module: Path) -> None:
    path = module.relative_to(ROOT)
    strangers = {
        library
        for library in {name.split(".")[0] for name in imports(module)} & ONLY.keys()
        if not any(path.match(place) or path.parts[0] == place for place in ONLY[library])
    }
    assert not strangers


def test_every_package_has_its_place_in_the_order() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == MAY_IMPORT.keys() - {"main"}


DISTRIBUTION = {
    "PIL": "pillow",
    "argon2": "argon2-cffi",
    "backports": "backports.zstd",
    "jwt": "pyjwt",
    "openjpeg": "pylibjpeg-openjpeg",
    "opentelemetry": "opentelemetry-api",
    "prometheus_client": "prometheus-client",
    "rle": "pylibjpeg-rle",
}
LOADED_BY_NAME = {
    "psycopg",
    "cryptography",
    "opentelemetry-exporter-otlp-proto-http",  # parts of the one package `opentelemetry`
    "opentelemetry-sdk",
    "pydicom-data",
    "pylibjpeg",
    "pylibjpeg-libjpeg",
}


def test_what_is_imported_is_pinned_and_what_is_pinned_is_imported() -> None:
    known = MAY_IMPORT.keys() | set(sys.stdlib_module_names)
    roots = {name.split(".")[0] for module in MODULES for name in imports(module)} - known
    imported = {DISTRIBUTION.get(name, name.lower()) for name in roots if not name.startswith("mypy_boto3")}
    lines = (ROOT / "requirements.txt").read_text().lower().splitlines()
    pinned = {re.split(r"[\[=]", line)[0] for line in lines if line and not line.startswith("#")}
    assert imported <= pinned
    assert pinned - LOADED_BY_NAME <= imported

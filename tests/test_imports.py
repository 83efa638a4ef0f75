"""Imports point one way, and what only some may know stays with them. The folders are the architecture."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {  # package: the packages of ours that it may import, itself aside
    "main": {"app"},
    "app": {"qido", "wado", "store", "index", "ahi", "db", "dicomweb", "runtime"},
    "qido": {"ahi", "db", "dicomweb", "runtime"},
    "wado": {"ahi", "db", "dicomweb", "runtime"},
    "store": {"ahi", "index", "dicomweb", "runtime"},
    "ahi": {"dicomweb", "runtime"},
    "db": {"dicomweb", "runtime"},
    "index": {"ahi", "db", "dicomweb", "runtime"},
    "datastore": {"db", "dicomweb", "index", "runtime"},
    "dicomweb": {"runtime"},
    "runtime": set(),
}

ROOM_MAY_IMPORT = {"app/commands": {"datastore"}}
"""Rooms that may import more than their package: commands start the embedded data store, of which no other knows."""

ROOMS = {  # room: the rooms of the same package that it may import
    "app/auth": set(),
    "app/audit": {"app/auth"},
    "app/telemetry": set(),
    "app/console": {"app/audit", "app/auth", "app/middleware", "app/prefetch", "app/telemetry"},
    "app/middleware": {"app/auth", "app/telemetry"},
    "app/server": {"app/middleware", "app/telemetry"},
    "app/prefetch": set(),
    "app/viewer": {"app/auth"},
    "app/processes": {
        "app/audit",
        "app/auth",
        "app/middleware",
        "app/prefetch",
        "app/server",
        "app/telemetry",
    },
    "app/commands": {"app/audit", "app/auth", "app/processes", "app/telemetry"},
    "ahi/cache": set(),
    "ahi/codecs": set(),
    "ahi/image_sets": {"ahi/cache", "ahi/codecs"},
    "ahi/client": {"ahi/image_sets"},
    "ahi/workers": {"ahi/cache", "ahi/client", "ahi/codecs", "ahi/image_sets"},
    "ahi/retrieval": {"ahi/cache", "ahi/image_sets", "ahi/workers"},
    "qido/parse": set(),
    "qido/plan": {"qido/parse"},
    "qido/image_sets": {"qido/parse", "qido/plan"},
    "qido/execute": {"qido/image_sets", "qido/parse", "qido/plan"},
    "qido/encode": {"qido/parse", "qido/plan"},
    "wado/metadata": set(),
    "wado/rendering": set(),
    "wado/rendered": {"wado/rendering"},
    "wado/uri": {"wado/rendered", "wado/rendering"},
    "store/spool": set(),
    "store/receive": {"store/spool"},
    "store/forward": {"store/spool"},
    "db/migrations": set(),
    "index/writing": set(),
    "index/ahi": set(),
    "index/follow": {"index/writing"},
    "datastore/storage": set(),
    "datastore/pixels": set(),
    "datastore/importing": {"datastore/pixels", "datastore/storage"},
    "datastore/samples": {"datastore/importing"},
    "datastore/index": {"datastore/storage"},
    "datastore/serving": {"datastore/importing", "datastore/pixels", "datastore/storage"},
}

CODECS = ("imagecodecs", "pylibjpeg", "openjpeg", "libjpeg", "rle")
ONLY = {  # library: the folders and files that may know it
    "flask": (
        "app/factory.py",
        "app/capabilities.py",
        "app/errors.py",
        "app/health.py",
        "app/request_state.py",
        "app/audit/middleware.py",
        "app/console",
        "app/auth/cookies.py",
        "app/auth/middleware.py",
        "app/middleware",
        "app/processes/children.py",
        "app/viewer/install.py",
        "app/telemetry",
        "datastore/serving/operations.py",
        "datastore/serving/stow.py",
        "dicomweb/respond.py",
        "*/routes.py",
    ),
    "werkzeug": (
        "app/capabilities.py",
        "app/errors.py",
        "app/server/sendfile.py",
        "dicomweb/respond.py",
        "*/routes.py",
    ),
    "jinja2": ("app/console/console.py",),
    "waitress": ("app/server/waitress_adapter.py", "datastore/serving/waitress_adapter.py"),
    "boto3": ("ahi/client", "app/audit/cloudwatch.py", "db/secret.py", "db/rds.py", "index/follow/queue.py"),
    "botocore": ("ahi/client", "app/audit/cloudwatch.py", "db/secret.py", "db/rds.py", "index/follow/queue.py"),
    "sqlalchemy": (
        "db",
        "qido/plan",
        "qido/image_sets/row_filters.py",
        "datastore/index",
        "index/writing",
        "index/follow/progress.py",
    ),
    "opentelemetry": ("app/telemetry/spans.py",),
    "backports": ("dicomweb/content_coding.py",),
    "pymysql": ("db/mysql.py",),
    "psycopg": ("db/postgresql.py",),
    **dict.fromkeys(CODECS, ("ahi/codecs", "datastore/pixels", "datastore/storage/catalogue.py")),
}

ADAPTERS = {  # module: the library whose private parts it uses; the test of its contract is named in its docstring
    "app/server/waitress_adapter.py": "waitress",
    "db/mysql.py": "pymysql",
    "db/postgresql.py": "psycopg",
    "dicomweb/pydicom_adapter.py": "pydicom",
}
DOCUMENTED = {"_asdict", "_exit", "_get_current_object", "_replace"}
"""Names that begin with an underscore, and that their libraries document for all."""

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
            found.update([str(node.module), *(f"{node.module}.{name.name}" for name in node.names)])
    return found


def rooms_imported(module: Path) -> set[str]:
    """The rooms of which a module imports something."""
    return {"/".join(name.split(".")[:2]) for name in imports(module)} & ROOMS.keys()


def named(module: Path) -> str:
    return str(module.relative_to(ROOT))


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_imports_point_one_way(module: Path) -> None:
    package = named(module).removesuffix(".py").split("/")[0]
    own = {package} | ROOM_MAY_IMPORT.get(named(module.parent), set())
    ours = {name.split(".")[0] for name in imports(module)} & MAY_IMPORT.keys()
    assert ours <= MAY_IMPORT[package] | own


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_one_way(room: str) -> None:
    package = room.split("/")[0]
    entered = {name for module in (ROOT / room).rglob("*.py") for name in rooms_imported(module) if name != room}
    assert {name for name in entered if name.startswith(f"{package}/")} <= ROOMS[room]


RENDERING_MAY_IMPORT = ("dicomweb.errors", "dicomweb.texts", "dicomweb.uids", "dicomweb.media_types", "wado.rendering")


def test_rendering_is_pure() -> None:
    """Pixels and data sets in, pictures out: no cache, no AHI, no HTTP, no index."""
    ours = tuple(f"{package}." for package in MAY_IMPORT)
    imported = {name for module in (ROOT / "wado/rendering").rglob("*.py") for name in imports(module)}
    foreign = {name for name in imported if f"{name}.".startswith((*ours, "flask."))}
    assert foreign and not {
        name for name in foreign if not f"{name}.".startswith(tuple(f"{own}." for own in RENDERING_MAY_IMPORT))
    }


def test_the_embedded_data_store_knows_the_writer_of_the_index_alone() -> None:
    """It stands for AHI, which the rest of `index/` calls."""
    imported = {name for module in (ROOT / "datastore").rglob("*.py") for name in imports(module)}
    of_index = {name for name in imported if name.split(".")[0] == "index"}
    assert of_index and all(name.startswith("index.writing.") for name in of_index)


def test_every_room_has_its_place_in_the_order() -> None:
    rooms = {named(path.parent) for package in MAY_IMPORT for path in ROOT.glob(f"{package}/*/__init__.py")}
    assert rooms == ROOMS.keys()


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_a_library_is_known_only_where_it_should_be(module: Path) -> None:
    path = module.relative_to(ROOT)
    strangers = {
        library
        for library in {name.split(".")[0] for name in imports(module)} & ONLY.keys()
        if not any(path.match(place) or path.is_relative_to(place) for place in ONLY[library])
    }
    assert not strangers


def is_private(name: str) -> bool:
    """Whether a name, or a part of a dotted one, begins with one underscore."""
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def defined(tree: ast.AST) -> set[str]:
    """The private names that a module gives to functions, classes, variables and attributes of its own."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                names.add(name)
    return names


def private_parts(module: Path) -> set[str]:
    """The private names of other modules and libraries that a module imports, or takes of an object."""
    tree = ast.parse(module.read_text())
    own = defined(tree)
    used = {name for name in imports(module) if is_private(name)}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls") | ast.Call(func=ast.Name(id="super")), attr=name):
                inherited = OURS
            case ast.Attribute(attr=name):
                inherited = set()
            case _:
                continue
        if is_private(name) and name not in own | inherited | DOCUMENTED:
            used.add(name)
    return used


OURS = set[str]().union(*(defined(ast.parse(module.read_text())) for module in MODULES))


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_private_parts_are_used_in_adapters_alone(module: Path) -> None:
    assert named(module) in ADAPTERS or private_parts(module) == set()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_adapters_use_private_parts_of_one_library(adapter: str) -> None:
    libraries = {name.split(".")[0] for name in imports(ROOT / adapter)} - MAY_IMPORT.keys() - sys.stdlib_module_names
    assert libraries == {ADAPTERS[adapter]}
    assert private_parts(ROOT / adapter)
    contract = re.search(r"`(tests/\S+)`", (ROOT / adapter).read_text())
    assert contract and (ROOT / contract[1]).exists()


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
}


def test_what_is_imported_is_pinned_and_what_is_pinned_is_imported() -> None:
    known = MAY_IMPORT.keys() | set(sys.stdlib_module_names)
    roots = {name.split(".")[0] for module in MODULES for name in imports(module)} - known
    imported = {DISTRIBUTION.get(name, name.lower()) for name in roots if not name.startswith("mypy_boto3")}
    lines = (ROOT / "requirements.txt").read_text().lower().splitlines()
    pinned = {re.split(r"[\[=]", line)[0] for line in lines if line and not line.startswith("#")}
    assert imported <= pinned
    assert pinned - LOADED_BY_NAME <= imported


TEST_MODULES = sorted(path for kind in ("test_*.py", "try_*.py") for path in (ROOT / "tests").rglob(kind))
TEST_HELPERS = sorted(set((ROOT / "tests").rglob("*.py")) - set(TEST_MODULES))


def test_tests_share_what_is_in_helper_modules_and_nothing_else() -> None:
    """A test that another one imports cannot be changed or moved on its own."""
    names = {named(path).removesuffix(".py").replace("/", ".") for path in TEST_MODULES}
    imported = {named(path): sorted(imports(path) & names) for path in [*TEST_MODULES, *TEST_HELPERS]}
    assert {path: names for path, names in imported.items() if names} == {}

"""Settings are read once, refused with every problem at once, and documented."""

import ast
import inspect
import itertools
import runpy
from dataclasses import Field, fields
from pathlib import Path

import pytest

from app.ae_titles import AeTitle
from app.prefetch.schedule import PrefetchRule
from app.processes.resources import find_index, open_cache
from app.setting_parsers import WholeNumber
from app.settings import Settings, SettingsError, variable

DOCUMENT = Path(__file__).parents[2] / "doc" / "settings.md"


def test_without_a_database_the_embedded_default_starts() -> None:
    assert not Settings.from_env({}).names_index
    assert Settings.from_env({"DATABASE_URL": "sqlite://", "AWS_DEFAULT_REGION": "us-east-1"}).names_index


def test_an_empty_variable_is_not_set() -> None:
    assert Settings.from_env({"PORT": "", "LOG_LEVEL": " "}) == Settings()


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"PORT": "http"}, "PORT is not a whole number"),
        ({"PORT": "0"}, "PORT is not between 1 and 65535"),
        ({"PUBLIC_URL": "dicom.example.org"}, "PUBLIC_URL is not a URL"),
        ({"PUBLIC_URL": "https://dicom.example.org:99999"}, "PUBLIC_URL is not a URL"),
        ({"AUTH": "oidc", "OIDC_ISSUER": "https://:8443"}, "OIDC_ISSUER is not a URL"),
        ({"CORS_ORIGINS": "*, example.org"}, "CORS_ORIGINS is not a URL"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL is none of"),
        ({"DATASTORE_CLEAN_INDEX": "maybe"}, "DATASTORE_CLEAN_INDEX is neither true nor false"),
        ({"IMAGE_SET_FRESH_SECONDS": "-1"}, "IMAGE_SET_FRESH_SECONDS is not between"),
        ({"TRUSTED_PROXY": "proxy.example"}, "TRUSTED_PROXY is not a list of IP addresses"),
        ({"AE_TITLES": "research"}, "AE_TITLES is not JSON"),
        ({"DATABASE_URL": "sqlite://"}, "AWS_DEFAULT_REGION is not set"),
        ({"DB_IAM_AUTH": "true", "DB_TLS": "require"}, "DB_TLS must be verify"),
        ({"DB_IAM_AUTH": "true", "DB_TLS": "off"}, "DB_TLS must be verify"),
        ({"DATABASE_URL": "x", "DB_SECRET_ARN": "y", "AWS_DEFAULT_REGION": "z"}, "both set"),
    ],
)
def test_a_wrong_value_is_named(environ: dict[str, str], problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        Settings.from_env(environ)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DB_SECRET_AR", "DB_SECRET_ARN"),
        ("DATABSE_URL", "DATABASE_URL"),
        ("CAHCE_ROOT", "CACHE_ROOT"),
        ("cache_root", "CACHE_ROOT"),
        ("DB_POOLSIZE", "DB_POOL_SIZE"),
        ("WEB_THREAD", "WEB_THREADS"),
        ("AHI_DEADLINE", "AHI_DEADLINE_SECONDS"),
        ("DATASTORE_CLEAN", "DATASTORE_CLEAN_INDEX"),
        ("OIDC_ISUER", "OIDC_ISSUER"),
        ("DB_TLS_CERT", "DB_TLS_CA"),
    ],
)
def test_a_misspelt_name_is_told_with_the_right_one(name: str, meant: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_env({name: "x"})
    assert str(error.value) == f"{name} is no setting; is {meant} meant?"


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
def test_a_letter_too_few_is_told(setting: "Field[object]") -> None:
    name = variable(setting)
    if len(name) >= 8 and not name.startswith("AWS_"):  # shorter ones are too near to variables of others
        with pytest.raises(SettingsError, match=f"is {name} meant"):
            Settings.from_env({name[:4] + name[5:]: "x"})


OF_OTHERS = [
    "PATH", "HOME", "LANG", "LC_ALL", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD", "TERM", "HOSTNAME", "HOSTTYPE",
    "SHLVL", "TZ", "TMPDIR", "EDITOR", "PORTS", "POST", "AUTHOR", "PYTHONUNBUFFERED", "PYTHONPATH", "PYTHON_VERSION",
    "PYTHON_SHA256", "GPG_KEY", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_REGION", "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_OUTPUT", "AWS_EXECUTION_ENV", "AWS_ENDPOINT_URL_MEDICAL_IMAGING",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "ECS_CONTAINER_METADATA_URI_V4", "ECS_AGENT_URI", "NOTIFY_SOCKET",
    "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "CACHE_DIRECTORY", "STATE_DIRECTORY", "RUNTIME_DIRECTORY",
    "LOGS_DIRECTORY", "CREDENTIALS_DIRECTORY", "MEMORY_PRESSURE_WATCH", "WATCHDOG_USEC", "KUBERNETES_SERVICE_HOST",
    "KUBERNETES_PORT", "KUBERNETES_PORT_443_TCP_ADDR", "DATASTORE_SERVICE_HOST", "DATASTORE_PORT_8080_TCP",
    "CACHE_PORT_6379_TCP_PROTO", "DB_NAME", "DB_ENV_MYSQL_ROOT_PASSWORD", "DB_USER", "WEB_CONCURRENCY",
    "LOG_DIR", "LOG_FILE", "AUTH_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "no_proxy", "OTEL_SERVICE_NAME",
    "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "MALLOC_ARENA_MAX", "LD_PRELOAD",
    "PYTEST_CURRENT_TEST", "GITHUB_ACTIONS", "CI", "DEBIAN_FRONTEND",
]  # fmt: skip


@pytest.mark.parametrize("name", OF_OTHERS)
def test_variables_of_others_do_not_stop_the_start(name: str) -> None:
    assert Settings.from_env({name: "x"}) == Settings()


def test_a_link_to_a_service_does_not_stop_the_start() -> None:
    assert Settings.from_env({"DATASTORE_PORT": "tcp://10.0.0.7:8080"}) == Settings()


def test_a_name_near_one_that_is_set_belongs_to_somebody_else() -> None:
    assert Settings.from_env({"WEB_THREAD": "x", "WEB_THREADS": "8"}).web_threads == 8


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_env({"PORT": "x", "WEB_THREADS": "y"})
    assert len(str(error.value).splitlines()) == 2


def _rows() -> dict[str, list[str]]:
    """Default and meaning of each variable in the document."""
    rows = (line.split(" | ") for line in DOCUMENT.read_text().replace(" | | ", " |  | ").splitlines())
    return {row[0].strip("| `"): [row[1].strip(), row[2].removesuffix("|").strip()] for row in rows if _is_setting(row)}


def _is_setting(row: list[str]) -> bool:
    return len(row) == 3 and row[0].startswith("| `")


def _documented(setting: "Field[object]") -> str:
    """The default that the document states for a setting."""
    return _rows()[variable(setting)][0]


def _docstrings(kind: type) -> dict[str, str]:
    """The docstring under each field of a class."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef))
    return {
        field.target.id: str(text.value.value)
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


DOCSTRINGS = _docstrings(Settings)


@pytest.mark.parametrize("kind", [Settings, AeTitle, PrefetchRule])
def test_every_field_has_a_docstring_of_one_line(kind: type) -> None:
    docstrings = _docstrings(kind)
    assert list(docstrings) == [field.name for field in fields(kind)]
    assert [text for text in docstrings.values() if "\n" in text or not text.endswith(".")] == []


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
def test_the_document_says_what_the_docstring_says(setting: "Field[object]") -> None:
    meaning = _rows()[variable(setting)][1]
    assert meaning == DOCSTRINGS[setting.name] or meaning.startswith(f"{DOCSTRINGS[setting.name]} ")


def _in_units(number: int, name: str) -> str:
    """A bound as texts write it: bytes in binary units."""
    powers = {10 * power: unit for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"), 1)}
    fitting = [f"{number >> power} {unit}" for power, unit in powers.items() if number >= 1 << power]
    return fitting[-1] if name.endswith("_bytes") and fitting else str(number)


NUMBERS = [one for one in fields(Settings) if isinstance(one.metadata["parse"], WholeNumber)]


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
def test_a_docstring_tells_the_range(setting: "Field[object]") -> None:
    parse = setting.metadata["parse"]
    lowest, highest = (_in_units(number, setting.name) for number in (parse.lowest, parse.highest))
    assert f"{lowest} to {highest}" in DOCSTRINGS[setting.name]


def test_a_docstring_of_a_time_tells_its_range_in_seconds() -> None:
    times = [text for name, text in DOCSTRINGS.items() if name.endswith("_seconds")]
    assert [text for text in times if not text.endswith((": up to 86400 s.", ": 0 to 86400 s."))] == []


MOST_PER_CORE = {"web_processes": "one per core, 8 at most", "frame_fetchers": "one per core, 16 at most"}


def _stated(setting: "Field[object]") -> str:
    match setting.default:
        case None | ():
            return ""
        case tuple() as words:
            return ",".join(map(str, words))
        case bool():
            return str(setting.default).lower()
        case float():
            return f"{setting.default:g}"
        case _:
            return MOST_PER_CORE.get(setting.name, str(setting.default))


@pytest.mark.parametrize("setting", fields(Settings), ids=lambda setting: setting.name)
def test_every_setting_is_documented_with_its_default(setting: "Field[object]") -> None:
    assert _documented(setting) == _stated(setting)


def test_the_document_has_no_setting_that_nothing_reads() -> None:
    named = {line.split("`")[1] for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")}
    ours = {variable(setting) for setting in fields(Settings)}
    assert named == ours == _rows().keys()


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"DATABASE_URL": "no url"}, "DATABASE_URL is not a database URL"),
        ({"DB_SECRET_ARN": "arn:aws:secretsmanager:us-east-1:1:secret:x"}, "DB_SECRET_ARN: "),
    ],
)
def test_an_index_that_cannot_be_named_stops_the_start_in_one_line(
    environ: dict[str, str], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(SettingsError, match=problem) as error:
        find_index(Settings.from_env({**environ, "AWS_DEFAULT_REGION": "us-east-1"}))
    assert len(str(error.value).splitlines()) == 1


def test_a_cache_that_cannot_be_written_stops_the_start_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="CACHE_ROOT .*Not a directory"):
        open_cache(Settings(cache_root=tmp_path / "file" / "cache"))


@pytest.mark.parametrize("cores", [1, 2, 4, 8, 16, 64])
def test_the_table_of_defaults_by_cores_is_right(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    there = runpy.run_path(str(DOCUMENT.parents[1] / "app" / "settings.py"), run_name="settings_there")["Settings"]()
    web, fetchers = there.web_processes, there.frame_fetchers
    row = [web, fetchers, fetchers * there.fetch_threads, web * there.db_pool_size + 1]
    named = str(cores) if cores < 16 else "16 and more"
    assert f"| {' | '.join([named, *map(str, row)])} |" in DOCUMENT.read_text()

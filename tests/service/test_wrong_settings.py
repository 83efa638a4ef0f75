"""A wrong value of any setting stops the start with one line that names it; collected from the settings themselves.

So do settings that contradict each other, and files that cannot be read; nothing of what is in a file is repeated.
"""

import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from cryptography.hazmat.primitives import serialization

from app.processes.resources import find_index_writer
from app.settings import Settings, SettingsError, variable
from tests.authority import Authority
from tests.aws_server import AwsServer
from tests.servers import free_port
from tests.service.process import PROGRAM, Service

NOT_READ = {
    "AUTH_GROUPS_CLAIM": "any text may be the name of a claim",
    "AUTH_NAME_CLAIM": "any text may be the name of a claim",
    **dict.fromkeys(["OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"], "any text may be what an issuer gives out"),
    "AUDIT_SOURCE": "any text may be the name of a system",
    "AWS_DEFAULT_REGION": "regions are added without us; calls to one that is none find no host, which `check` tells",
    "VIEWER_ROOT": "a viewer may come later; `/viewer` says that there is none yet",
}
"""Settings of which every text is a value."""

WRONG = {
    **dict.fromkeys(
        [
            "DCM4CHEE_PATHS",
            "AUTH_QUERY_TOKEN",
            "DATASTORE_CLEAN_INDEX",
            "EMBEDDED",
            "DB_IAM_AUTH",
            "STORE",
            "SPOOL_SHARED",
            "CONSOLE",
        ],
        ["yes"],
    ),
    "DATASTORE_POPULATE_INSTANCES": ["1"],
    **dict.fromkeys(
        ["PUBLIC_URL", "OIDC_ISSUER", "ALB_PUBLIC_KEYS_URL", "INDEX_EVENTS_QUEUE_URL", "AHI_STOW_ENDPOINT"],
        ["dicom.example.org", "ftp://x"],
    ),
    "DB_TLS": ["maybe"],
    "INDEX_COMPARE": ["3", "24:00", "03:00:00", "at three"],
    "AHI_DATASTORE_IDS": [",", "x", "A" * 32, f"{'a' * 32};{'b' * 32}", "arn:aws:s3:::bucket"],
    "DB_HOST": ["a host", "https://db.example.org", "db/x"],
    "TRUSTED_PROXY": ["10.0.0.0/33", "proxy"],
    "AE_TITLES": ["{", "[]", '{"a b": {}}', "[" * 99_999],
    "CORS_ORIGINS": ["example.org"],
    "AUTH": ["basic,magic", "none,basic", ","],
    "OIDC_SCOPES": ["profile", ","],
    "OIDC_ALGORITHMS": ["HS256", "none", ","],
    "ALB_ARN": ["arn:aws:s3:::bucket"],
    "LINK_SECRET": ["short"],
    "SESSION_SECRET": ["short"],
    "AUDIT": ["paper"],
    "AUDIT_LOG_GROUP": ["a group", "x:y"],
    "AUDIT_SYSLOG": ["audit.example.org", "tls://x:0", "tls://x:99999"],
    "AUDIT_FAILURE": ["ignore"],
    "PREFETCH": ["{", '[{"days": 1}]'],
    **dict.fromkeys(["PART10_UNNAMED", "PART10_ANY"], ["jpeg"]),
    "MEMORY_MAX": ["1", "100000000"],
    "VERIFY_FRAMES": ["yes", "DECODE!"],
    "STORE_DATASTORE_ID": ["x", "A" * 32, "a" * 33],
    "STORE_ANSWER": ["later"],
    "AHI_STOW_DIGEST": ["md5"],
    "LOG_LEVEL": ["LOUD"],
    "LOG_FORMAT": ["xml"],
}
"""What the settings themselves refuse, beside numbers."""

NUMBERS = ["-1", "ten", "1e999", "nan", "0x10", "9" * 40]

STARTED = {
    "SETTINGS_FILE": {"SETTINGS_FILE": "/none/settings"},
    "DATABASE_URL": {"DATABASE_URL": "not a database", "AWS_DEFAULT_REGION": "us-east-1"},
    "DB_SECRET_ARN": {"DB_SECRET_ARN": "not an ARN", "AWS_DEFAULT_REGION": "us-east-1"},
    "DB_TLS_CA": {"DB_TLS_CA": "/none/bundle.pem"},
    "HOST": {"HOST": "192.0.2.1"},
    "METRICS_HOST": {"METRICS_HOST": "192.0.2.1", "METRICS_PORT": "1"},
    "AUTH_USERS_FILE": {"AUTH": "basic", "AUTH_USERS_FILE": "/none/users"},
    "AUTH_TOKENS_FILE": {"AUTH": "bearer", "AUTH_TOKENS_FILE": "/none/tokens"},
    "OIDC_AUDIENCE": {"AUTH": "oidc", "OIDC_ISSUER": "https://issuer.example.org", "OIDC_AUDIENCE": ","},
    "ACCESS_RULES": {"AUTH": "bearer", "AUTH_TOKENS_FILE": "/dev/null", "ACCESS_RULES": "/none/rules"},
    "AUDIT_FILE": {"AUDIT": "file", "AUDIT_FILE": "/none/audit.log"},
    **{
        name: {"AUDIT": "syslog", "AUDIT_SYSLOG": "tls://127.0.0.1:1", name: "/none/file.pem"}
        for name in ("AUDIT_SYSLOG_CA", "AUDIT_SYSLOG_CERT", "AUDIT_SYSLOG_KEY")
    },
    "CACHE_ROOT": {"CACHE_ROOT": "/proc/none"},
    "SPOOL_ROOT": {"SPOOL_ROOT": "/proc/none", "STORE": "true", "STORE_DATASTORE_ID": "a" * 32},
    "DATASTORE_ROOT": {"DATASTORE_ROOT": "/proc/none"},
    "DATASTORE_FAULTS": {"DATASTORE_FAULTS": "sometimes"},
}
"""What only the start finds wrong, and what it is wrong with."""

OF_WRITERS = {
    "INDEX_WRITE_URL": "not a database",
    "INDEX_WRITE_SECRET_ARN": "not an ARN",
}
"""What only processes that write to the index read."""

MYSQL = "mysql+pymysql://reader:Zq9xsecret@127.0.0.1:1/index"

STOPPED: list[tuple[dict[str, str], int, str]] = [
    *(({"DATABASE_URL": f"{driver}://reader:Zq9xsecret@h/d"}, 2, "DATABASE_URL begins with none of mysql, ")
      for driver in ("oracle", "postgresql+psycopg2", "mysql+mysqldb", "nonsense")),
    ({"DATABASE_URL": "mysql://reader:Zq9xsecret@h:port/d"}, 2, "DATABASE_URL is not a database URL"),
    ({"DATABASE_URL": "mysql://reader:Zq9xsecret@h:99999/d"}, 2, "DATABASE_URL has a port that is none"),
    ({"DATABASE_URL": f"{MYSQL}?no=such"}, 2, "DATABASE_URL: the URL of the metadata index has an option"),
    ({"DATABASE_URL": f"{MYSQL}?charset=none"}, 2, "DATABASE_URL: the URL of the metadata index has an option"),
    ({"DATABASE_URL": "postgresql://h/d?no=such"}, 2, "DATABASE_URL: the URL of the metadata index has an option"),
    ({"AWS_DEFAULT_REGION": "the moon"}, 2, "AWS_DEFAULT_REGION is not the name of a region"),
    ({"AWS_ENDPOINT_URL": "nonsense"}, 2, "AWS_ENDPOINT_URL is not a URL"),
    ({"AWS_PROFILE": "nobody"}, 2, "AWS_PROFILE or AWS_CONFIG_FILE cannot be used: ProfileNotFound"),
    ({"AWS_CONFIG_FILE": "broken"}, 2, "AWS_PROFILE or AWS_CONFIG_FILE cannot be used: ConfigParseError"),
    ({"HOST": "x" * 70}, 2, "HOST xxx"),
    ({"CACHE_ROOT": "broken"}, 2, "CACHE_ROOT broken: "),
    ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_BSP_SCHEDULE_DELAY": "x"}, 2,
     "OTEL_BSP_SCHEDULE_DELAY is not a whole number"),
]  # fmt: skip
"""Starts that end, their statuses, and the one line that is said."""

TLS_AUDIT: dict[str, Any] = {"AUDIT": "syslog", "AUDIT_SYSLOG": "tls://127.0.0.1:1"}

CONTRADICTIONS: list[tuple[dict[str, str], str]] = [
    ({"DB_SECRET_ARN": "arn"}, "DB_SECRET_ARN and DATABASE_URL are both set"),
    (
        {"INDEX_WRITE_SECRET_ARN": "arn", "INDEX_WRITE_URL": "sqlite://"},
        "INDEX_WRITE_SECRET_ARN and INDEX_WRITE_URL are both set",
    ),
    ({"AWS_DEFAULT_REGION": ""}, "AWS_DEFAULT_REGION is not set"),
    ({"AUTH": "basic"}, "AUTH_USERS_FILE is not set"),
    ({"AUTH": "bearer"}, "AUTH_TOKENS_FILE is not set"),
    ({"AUTH": "oidc", "OIDC_ISSUER": "https://issuer.example.org"}, "OIDC_ISSUER and OIDC_AUDIENCE are not both set"),
    ({"AUTH": "alb"}, "ALB_ARN is not set"),
    ({"AUTH_USERS_FILE": "/dev/null"}, "AUTH_USERS_FILE is set, but AUTH has no basic"),
    (
        {"AUTH": "basic", "AUTH_USERS_FILE": "/dev/null", "AUTH_TOKENS_FILE": "/dev/null"},
        "AUTH_TOKENS_FILE is set, but AUTH has no bearer",
    ),
    ({"OIDC_ISSUER": "https://issuer.example.org"}, "OIDC_ISSUER is set, but AUTH has no oidc"),
    ({"OIDC_CLIENT_ID": "console"}, "OIDC_CLIENT_ID is set, but AUTH has no oidc"),
    (
        {"AUTH": "bearer", "AUTH_TOKENS_FILE": "/dev/null", "OIDC_CLIENT_SECRET": "x"},
        "OIDC_CLIENT_SECRET is set, but OIDC_CLIENT_ID is not",
    ),
    ({"ACCESS_RULES": "/dev/null"}, "ACCESS_RULES is set, but AUTH is none"),
    ({"AUDIT": "file"}, "AUDIT_FILE is not set"),
    ({"AUDIT": "syslog"}, "AUDIT_SYSLOG is not set"),
    ({**TLS_AUDIT, "AUDIT_SYSLOG_KEY": "/none"}, "AUDIT_SYSLOG_KEY is set, but no AUDIT_SYSLOG_CERT"),
]
"""Settings that cannot hold together, where DATABASE_URL and AWS_DEFAULT_REGION are set; and what is said of them."""

READ: dict[str, dict[str, Any]] = {
    "SETTINGS_FILE": {},
    "DB_TLS_CA": {},
    "AUTH_USERS_FILE": {"AUTH": "basic"},
    "AUTH_TOKENS_FILE": {"AUTH": "bearer"},
    "ACCESS_RULES": {"AUTH": "bearer", "AUTH_TOKENS_FILE": "/dev/null"},
    "AUDIT_SYSLOG_CA": TLS_AUDIT,
    "AUDIT_SYSLOG_CERT": TLS_AUDIT,
}
"""Settings that name a file which the start reads, and what has it read."""

READ_IN_WAYS_OF_THEIR_OWN = ("SETTINGS_FILE", "DB_TLS_CA", "AUTH_USERS_FILE", "AUDIT_SYSLOG_CA")

SECRET = "Zq9xsecret"  # noqa: S105 - it is to be found where it must not be

FILES = {
    "latin": SECRET.encode() + b":\xe9\n",
    "nested": b"[" * 99_999,
    "pasted": SECRET.encode() + b"==\n",
}
"""Files that are none of these: with a password in Latin-1, JSON too deep to be read, a line pasted by mistake."""

ALL = [variable(setting) for setting in fields(Settings)]
NUMERIC = [variable(one) for one in fields(Settings) if "float" in str(one.type) or "int" in str(one.type)]


def test_every_setting_is_tried() -> None:
    assert sorted(ALL) == sorted({*NOT_READ, *WRONG, *NUMERIC, *STARTED, *OF_WRITERS})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(pytest.param(name, text, id=f"{name}={text[:20]}") for name, texts in WRONG.items() for text in texts),
        *((name, value) for name in NUMERIC for value in NUMBERS),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({name: value})
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"{name} ")


@pytest.mark.parametrize("name", OF_WRITERS)
def test_a_login_for_writing_that_is_wrong_is_told_in_one_line(
    name: str, secrets_manager: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable_name, value in secrets_manager.items():
        monkeypatch.setenv(variable_name, value)
    settings = Settings.from_env({name: OF_WRITERS[name], "AWS_DEFAULT_REGION": "us-east-1"})
    with pytest.raises(SettingsError) as raised:
        find_index_writer(settings)
    (line,) = str(raised.value).splitlines()
    assert line.startswith(name)


def started(folder: Path, *, embedded: bool = False, **settings: Any) -> "subprocess.CompletedProcess[str]":
    """What came of a start with these settings; an index is named unless it is to be embedded."""
    own = {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": str(free_port())}
    index = {"DATABASE_URL": f"sqlite:///{folder / 'index'}", "AWS_DEFAULT_REGION": "us-east-1"}
    environ = {**own, **({} if embedded else index), **settings}
    return subprocess.run(PROGRAM, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("name", STARTED)
def test_what_the_start_finds_wrong_stops_it_in_one_line(name: str, tmp_path: Path) -> None:
    embedded = name.startswith("DATASTORE") or name == "DB_SECRET_ARN"
    done = started(tmp_path, embedded=embedded, **STARTED[name])
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if name in line]
    assert len(said) == 1, done.stderr


@pytest.mark.parametrize(("settings", "status", "told"), STOPPED)
def test_a_mistake_anywhere_in_the_start_is_one_line(
    settings: dict[str, Any], status: int, told: str, tmp_path: Path
) -> None:
    (tmp_path / "broken").write_text("[[[")
    done = started(tmp_path, **settings)
    (line,) = done.stderr.splitlines()
    assert line.startswith(told)
    assert SECRET not in line
    assert (done.returncode, done.stdout) == (status, "")


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = started(tmp_path, PORT=str(taken.getsockname()[1]))
    (line,) = done.stderr.splitlines()
    assert line.endswith("Address already in use")
    assert done.returncode == 2


@pytest.mark.parametrize("name", ["index.sqlite", "store"])
def test_a_data_store_that_is_something_else_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / name).write_text("something else " * 999)
    done = started(tmp_path, embedded=True)
    (line,) = done.stderr.splitlines()
    assert line.startswith("DATASTORE_ROOT data: the data store cannot be used, ")
    assert "Upstream" not in line  # the reason, and no name of a class
    assert done.returncode == 2


@pytest.mark.parametrize(
    "secret", ["", "{", "[" * 99_999, "[]", '{"host": 1}', '{"host": "h", "username": "", "password": "Zq9xsecret"}']
)
def test_a_secret_that_is_something_else_is_one_line(
    secret: str, tmp_path: Path, secrets_manager: dict[str, str]
) -> None:
    manager = boto3.client(
        "secretsmanager",
        region_name="us-east-1",
        endpoint_url=secrets_manager["AWS_ENDPOINT_URL_SECRETS_MANAGER"],
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106
    )
    arn = manager.create_secret(Name=f"s{uuid4()}", SecretString=secret or "x")["ARN"]
    done = started(tmp_path, embedded=True, DB_SECRET_ARN=arn, AWS_DEFAULT_REGION="us-east-1", **secrets_manager)
    (line,) = done.stderr.splitlines()
    assert line.startswith("DB_SECRET_ARN: ")
    assert SECRET not in line
    assert done.returncode == 1


@pytest.fixture(scope="module")
def secrets_manager() -> Iterator[dict[str, str]]:
    """The environment in which Secrets Manager is one of our own."""
    server = AwsServer()
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    server.stop()


def test_an_index_that_does_not_answer_is_one_line_and_no_reason_to_end(tmp_path: Path) -> None:
    service = Service(tmp_path, {"DATABASE_URL": MYSQL, "AWS_DEFAULT_REGION": "us-east-1"}, healthy=False)
    assert service.status("/health") == 503
    assert service.status("/live") == 200
    assert service.stop() == 0
    told = [line for line in service.log.splitlines() if " INFO " not in line]
    assert [line.rpartition(" ERROR ")[2] for line in told if "index" in line] == [
        "runtime.outage index does not answer: OperationalError 2003"
    ]
    assert "Traceback" not in service.log


@pytest.mark.parametrize(("settings", "problem"), CONTRADICTIONS)
def test_settings_that_contradict_each_other_stop_the_start(
    settings: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    done = started(tmp_path, **settings)
    (line,) = done.stderr.splitlines()
    assert line.startswith(problem)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    ("name", "path", "reason"),
    [
        *((name, ".", "Is a directory") for name in READ),
        *((name, "latin", "in PEM" if name.endswith(("_CA", "_CERT")) else "is not UTF-8") for name in READ),
        *((name, "/proc/self/mem", "Input/output error") for name in READ_IN_WAYS_OF_THEIR_OWN),
    ],
)
def test_a_file_that_cannot_be_read_stops_the_start(name: str, path: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(FILES["latin"])
    done = started(tmp_path, **{**READ[name], name: path})
    (line,) = done.stderr.splitlines()
    assert line.startswith(name)
    assert line.endswith(reason)
    assert SECRET not in line
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SETTINGS_FILE", "pasted"),
        ("AUTH_USERS_FILE", "pasted"),
        ("AUTH_TOKENS_FILE", "pasted"),
        ("ACCESS_RULES", "pasted"),
        ("ACCESS_RULES", "nested"),
    ],
)
def test_nothing_of_a_file_that_is_something_else_is_repeated(name: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(FILES[kind])
    done = started(tmp_path, **{**READ[name], name: "file"})
    (line,) = done.stderr.splitlines()
    assert line.startswith(name)
    assert SECRET not in line
    assert (done.returncode, done.stdout) == (2, "")


def test_a_key_that_is_encrypted_is_refused_without_asking_for_its_password(tmp_path: Path) -> None:
    made = Authority(tmp_path).sign("localhost")
    key = serialization.load_pem_private_key(made.key_path.read_bytes(), None)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    made.key_path.write_bytes(key.private_bytes(*form, serialization.BestAvailableEncryption(SECRET.encode())))
    files = {"AUDIT_SYSLOG_CERT": str(made.path), "AUDIT_SYSLOG_KEY": str(made.key_path)}
    done = started(tmp_path, **{**TLS_AUDIT, **files})
    (line,) = done.stderr.splitlines()
    assert line.startswith("AUDIT_SYSLOG_CERT, AUDIT_SYSLOG_KEY: no certificate and its key, not encrypted")
    assert (done.returncode, done.stdout) == (2, "")

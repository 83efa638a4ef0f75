"""A wrong value of any setting stops the start with one line that names it; collected from the settings themselves."""

import os
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from app.settings import Settings, SettingsError, variable
from tests.servers import free_port
from tests.service.process import PROGRAM

NOT_READ = {
    "AUTH_GROUPS_CLAIM": "any text may be the name of a claim",
    "AUDIT_SOURCE": "any text may be the name of a system",
    "AWS_DEFAULT_REGION": "regions are added without us; calls to one that is none find no host, which `check` tells",
}
"""Settings of which every text is a value."""

WRONG = {
    **dict.fromkeys(["DCM4CHEE_PATHS", "AUTH_QUERY_TOKEN", "DATASTORE_CLEAN_INDEX"], ["yes"]),
    "DATASTORE_POPULATE_INSTANCES": ["1"],
    **dict.fromkeys(["PUBLIC_URL", "OIDC_ISSUER", "ALB_PUBLIC_KEYS_URL"], ["dicom.example.org", "ftp://x"]),
    "DB_TLS": ["maybe"],
    "TRUSTED_PROXY": ["10.0.0.0/33", "proxy"],
    "AE_TITLES": ["{", "[]", '{"a b": {}}'],
    "CORS_ORIGINS": ["example.org"],
    "AUTH": ["basic,magic"],
    "OIDC_ALGORITHMS": ["HS256", "none"],
    "ALB_ARN": ["arn:aws:s3:::bucket"],
    "LINK_SECRET": ["short"],
    "AUDIT": ["paper"],
    "AUDIT_SYSLOG": ["audit.example.org", "tls://x:0", "tls://x:99999"],
    "AUDIT_FAILURE": ["ignore"],
    "PREFETCH": ["{", '[{"days": 1}]'],
    **dict.fromkeys(["PART10_UNNAMED", "PART10_ANY"], ["jpeg"]),
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
    "DATASTORE_ROOT": {"DATASTORE_ROOT": "/proc/none"},
    "DATASTORE_FAULTS": {"DATASTORE_FAULTS": "sometimes"},
}
"""What only the start finds wrong, and what it is wrong with."""

ALL = [variable(setting) for setting in fields(Settings)]
NUMERIC = [variable(one) for one in fields(Settings) if "float" in str(one.type) or "int" in str(one.type)]


def test_every_setting_is_tried() -> None:
    assert sorted(ALL) == sorted({*NOT_READ, *WRONG, *NUMERIC, *STARTED})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name, values in WRONG.items() for value in values),
        *((name, value) for name in NUMERIC for value in NUMBERS),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({name: value})
    (line,) = str(raised.value).splitlines()
    assert line.startswith(f"{name} ")


@pytest.mark.parametrize("name", STARTED)
def test_what_the_start_finds_wrong_stops_it_in_one_line(name: str, tmp_path: Path) -> None:
    own = {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": str(free_port())}
    index = {"DATABASE_URL": f"sqlite:///{tmp_path / 'index'}", "AWS_DEFAULT_REGION": "us-east-1"}
    elsewhere = {} if name.startswith("DATASTORE") or name == "DB_SECRET_ARN" else index
    environ = {**own, **elsewhere, **STARTED[name]}
    done = subprocess.run(PROGRAM, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=15)
    assert done.returncode not in (0, None)
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if name in line]
    assert len(said) == 1, done.stderr

"""How the service runs: environment variables, read once, every problem named at once."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from app.ae_titles import AeTitle, parse_ae_titles
from app.networks import Network, parse_networks
from app.prefetch.schedule import PrefetchRule, parse_schedule
from app.setting_suggestions import suggestions
from db import tls
from runtime.hosts import is_loopback

T = TypeVar("T")


class SettingsError(ValueError):
    """One or more settings are wrong; the text has a line for each."""


class NotNowError(SettingsError):
    """What a setting names cannot be used; the setting may be right, and the next try may succeed."""


def _integer(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError("is not a whole number") from None
        if not lowest <= number <= highest:
            raise ValueError(f"is not between {lowest} and {highest}")
        return number

    return parse


def _memory(text: str) -> int:
    number = _integer(0, 2**50)(text)
    if 0 < number < 2**27:
        raise ValueError(f"is neither 0, for no bound, nor {2**27} or more: a process needs as much")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("is not a number of seconds") from None
    if not 0 < number <= 86_400:
        raise ValueError("is not between 0 and 86400 seconds")
    return number


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        raise ValueError("is not a number of requests a second") from None
    if not 0.001 <= rate <= 1_000_000:
        raise ValueError("is not between 0.001 and 1000000 requests a second")
    return rate


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return text.lower() == "true"


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("is not a URL like https://dicom.example.org")
    return text


_NAME = re.compile(r"[A-Z][A-Z0-9_]*")

LOOPBACK = "loopback"


def _origins(text: str) -> tuple[str, ...]:
    """Origins, `*` for every page, `loopback` for pages served by this machine."""
    origins = tuple(word.strip() for word in text.split(",") if word.strip())
    for origin in origins:
        if origin not in ("*", LOOPBACK):
            _url(origin)
    return origins


AUTH_WAYS = ("basic", "bearer", "oidc", "alb")

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""What tokens may be signed with: private keys. With an HMAC the public key would be a password."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _some_of(allowed: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        words = _words(text)
        if not words:
            raise ValueError(f"has none of the words {', '.join(allowed)}")
        if not set(words) <= set(allowed):
            raise ValueError(f"has other words than {', '.join(allowed)}")
        return words

    return parse


def _auth(text: str) -> tuple[str, ...]:
    return () if text == "none" else _some_of(AUTH_WAYS)(text)


def _load_balancer_arn(text: str) -> str:
    if not re.fullmatch(r"arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]*:loadbalancer/.+", text):
        raise ValueError("is not the ARN of a load balancer")
    return text


def _secret(text: str) -> str:
    if len(text) < 32:
        raise ValueError("is shorter than 32 characters")
    return text


AUDIT_REFUSE, AUDIT_CONTINUE = "refuse", "continue"


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"is none of {', '.join(allowed)}")
        return text

    return parse


def _syslog(text: str) -> str:
    parts = urlsplit(text)
    try:
        port_is_one = parts.port is None or parts.port > 0
    except ValueError:
        port_is_one = False
    if parts.scheme not in ("tls", "udp") or not parts.hostname or not port_is_one or parts.path:
        raise ValueError("is not like tls://audit.example.org:6514 or udp://audit.example.org:514")
    return text


def _tls(text: str) -> str:
    modes = (tls.VERIFY, tls.REQUIRE, tls.OFF)
    if text.lower() not in modes:
        raise ValueError(f"is none of {', '.join(modes)}")
    return text.lower()


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+|\[?[0-9a-fA-F:.]+\]?", text):
        raise ValueError("is not the name of a host")
    return text


STRUCTURE, DECODE = "structure", "decode"
STORED, EXPLICIT_LE = "stored", "explicit-le"


def _file_syntax(text: str) -> str:
    if text.lower() not in (STORED, EXPLICIT_LE):
        raise ValueError(f"is neither {STORED} nor {EXPLICIT_LE}")
    return text.lower()


def _level(text: str) -> str:
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("is none of DEBUG, INFO, WARNING, ERROR")
    return text.upper()


def _log_format(text: str) -> str:
    if text not in ("text", "json"):
        raise ValueError("is neither text nor json")
    return text


def _setting(default: T, parse: Callable[[str], T]) -> T:
    value: T = field(default=default, metadata={"parse": parse})
    return value


def _cores() -> int:
    return max(1, len(os.sched_getaffinity(0)))


_FOR_SCHEME = {"auth_users_file": "basic", "auth_tokens_file": "bearer", "oidc_issuer": "oidc", "alb_arn": "alb"}
"""Settings that mean nothing unless AUTH names the scheme: who sets one believes that users are asked for it."""


@dataclass(frozen=True)
class Settings:
    """Each field is the environment variable of its name in capitals; doc/settings.md has the same table."""

    settings_file: Path | None = _setting(None, Path)
    embedded: bool | None = _setting(None, _flag)
    db_secret_arn: str | None = _setting(None, str)
    database_url: str | None = _setting(None, str)
    db_host: str | None = _setting(None, _host)
    db_iam_auth: bool = _setting(False, _flag)
    db_tls: str | None = _setting(None, _tls)
    db_tls_ca: Path | None = _setting(None, Path)
    db_pool_size: int = _setting(8, _integer(1, 256))
    db_statement_timeout_seconds: float = _setting(30.0, _seconds)
    aws_default_region: str | None = _setting(None, str)
    ahi_deadline_seconds: float = _setting(10.0, _seconds)
    host: str = _setting("0.0.0.0", str)  # noqa: S104 - a server; the embedded default says 127.0.0.1
    port: int = _setting(8080, _integer(1, 65_535))
    public_url: str | None = _setting(None, _url)
    trusted_proxy: tuple[Network, ...] = _setting((), parse_networks)
    ae_titles: tuple[AeTitle, ...] = _setting((), parse_ae_titles)
    dcm4chee_paths: bool = _setting(False, _flag)
    cors_origins: tuple[str, ...] = _setting((), _origins)
    web_processes: int = _setting(min(_cores(), 8), _integer(1, 64))
    auth: tuple[str, ...] = _setting((), _auth)
    auth_users_file: Path | None = _setting(None, Path)
    auth_tokens_file: Path | None = _setting(None, Path)
    auth_query_token: bool = _setting(False, _flag)
    auth_name_claim: str = _setting("sub", str)
    auth_groups_claim: str = _setting("groups", str)
    oidc_issuer: str | None = _setting(None, _url)
    oidc_audience: tuple[str, ...] = _setting((), _words)
    oidc_algorithms: tuple[str, ...] = _setting(("RS256",), _some_of(_ALGORITHMS))
    alb_arn: str | None = _setting(None, _load_balancer_arn)
    alb_public_keys_url: str | None = _setting(None, _url)
    access_rules: Path | None = _setting(None, Path)
    link_secret: str | None = _setting(None, _secret)
    audit: str = _setting("none", _one_of("none", "file", "syslog", "stdout"))
    audit_file: Path | None = _setting(None, Path)
    audit_syslog: str | None = _setting(None, _syslog)
    audit_syslog_ca: Path | None = _setting(None, Path)
    audit_syslog_cert: Path | None = _setting(None, Path)
    audit_syslog_key: Path | None = _setting(None, Path)
    audit_source: str | None = _setting(None, str)
    audit_failure: str = _setting(AUDIT_CONTINUE, _one_of(AUDIT_CONTINUE, AUDIT_REFUSE))
    rate_limit: float | None = _setting(None, _rate)
    rate_limit_burst: int = _setting(200, _integer(1, 1_000_000))
    client_max_requests: int = _setting(256, _integer(1, 1000))
    max_requests: int = _setting(768, _integer(1, 1000))
    client_max_connections: int = _setting(256, _integer(1, 30_000))
    max_connections: int = _setting(1000, _integer(1, 30_000))
    slow_client_seconds: float = _setting(60.0, _seconds)
    response_deadline_seconds: float = _setting(3600.0, _seconds)
    web_threads: int = _setting(32, _integer(1, 512))
    frame_fetchers: int = _setting(min(_cores(), 16), _integer(1, 64))
    fetch_threads: int = _setting(32, _integer(2, 256))
    prefetch_frames: int = _setting(64, _integer(0, 4096))
    prefetch_max_bytes: int = _setting(128 * 2**20, _integer(0, 2**40))
    prefetch: tuple[PrefetchRule, ...] = _setting((), parse_schedule)
    memory_max: int = _setting(2 * 2**30, _memory)
    cache_root: Path = _setting(Path("cache"), Path)
    cache_max_bytes: int = _setting(10 * 2**30, _integer(2**20, 2**60))
    cache_min_free_bytes: int = _setting(512 * 2**20, _integer(0, 2**60))
    frame_max_bytes: int = _setting(256 * 2**20, _integer(2**20, 2**36))
    metadata_max_bytes: int = _setting(256 * 2**20, _integer(2**20, 2**36))
    image_set_fresh_seconds: float = _setting(60.0, _seconds)
    image_set_unchecked_seconds: int = _setting(3600, _integer(0, 86_400))
    verify_frames: str = _setting(STRUCTURE, _one_of(STRUCTURE, DECODE))
    image_set_old_seconds: int = _setting(3600, _integer(0, 86_400))
    part10_unnamed: str = _setting(EXPLICIT_LE, _file_syntax)
    part10_any: str = _setting(STORED, _file_syntax)
    max_results: int = _setting(5000, _integer(1, 1_000_000))
    search_max_image_sets: int = _setting(100, _integer(0, 100_000))
    metrics_port: int | None = _setting(None, _integer(1, 65_535))
    metrics_host: str = _setting("127.0.0.1", str)
    log_level: str = _setting("INFO", _level)
    log_format: str = _setting("text", _log_format)
    datastore_root: Path = _setting(Path("data"), Path)
    datastore_faults: str | None = _setting(None, str)
    datastore_clean_index: bool = _setting(False, _flag)
    datastore_populate_instances: bool = _setting(True, _flag)

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)

    @property
    def names_index(self) -> bool:
        """Whether DB_SECRET_ARN or DATABASE_URL says where the metadata index is."""
        return self.db_secret_arn is not None or self.database_url is not None

    @property
    def contradictions(self) -> list[str]:
        """What of them cannot hold together."""
        found = []
        if self.db_secret_arn and self.database_url:
            found.append("DB_SECRET_ARN and DATABASE_URL are both set: the index is in one place")
        if self.names_index and not self.aws_default_region:
            found.append("AWS_DEFAULT_REGION is not set: AWS HealthImaging is asked in a region")
        if self.db_iam_auth and self.db_tls not in (None, tls.VERIFY):
            found.append("DB_IAM_AUTH sends the database a token, so DB_TLS must be verify: only RDS may see it")
        for name, scheme in _FOR_SCHEME.items():
            if getattr(self, name) and scheme not in self.auth:
                found.append(f"{name.upper()} is set, but AUTH has no {scheme}: nobody is asked by it")
        if self.access_rules and not self.auth:
            found.append("ACCESS_RULES is set, but AUTH is none: nobody has a name that rules could be for")
        return found

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """The settings of an environment; an empty variable counts as not set. SettingsError names all problems."""
        values: dict[str, Any] = {}
        names = [variable(setting) for setting in fields(cls)]
        told = read_settings_file(environ.get("SETTINGS_FILE", "").strip())
        problems = suggestions(environ, names)
        problems += [f"{name} is no setting, but SETTINGS_FILE has it" for name in told if name not in names]
        environ = {**environ, **told}
        for setting in fields(cls):
            text = environ.get(variable(setting), "").strip()
            if not text:
                continue
            try:
                values[setting.name] = setting.metadata["parse"](text)
            except ValueError as error:
                problems.append(f"{variable(setting)} {error}")
        settings = cls(**values)
        problems += settings.contradictions
        if problems:
            raise SettingsError("\n".join(problems))
        return settings


def read_settings_file(path: str) -> dict[str, str]:
    """The lines `NAME=value` of a file; SettingsError for another line, and where it cannot be read; no path, none."""
    if not path:
        return {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise SettingsError(f"SETTINGS_FILE {path}: {reason}") from error
    told = {}
    for number, line in enumerate(lines, 1):
        name, equals, value = line.partition("=")
        if line.strip() and not line.startswith("#"):
            if not equals or not _NAME.fullmatch(name.strip()):  # what is none may be a secret
                raise SettingsError(f"SETTINGS_FILE {path}: line {number} is not NAME=value")
            told[name.strip()] = value.strip()
    return told


def variable(setting: "Field[Any]") -> str:
    """The environment variable of a field."""
    return setting.name.upper()

"""The settings of the service: environment variables, read once at the start. Read in every process.

All problems are reported at once, one line each.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import time
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from app.ae_titles import AeTitle, parse_ae_titles, parse_datastore_id
from app.networks import Network, parse_networks
from app.prefetch.schedule import PrefetchRule, parse_schedule
from app.setting_parsers import (
    ALGORITHMS,
    ANSWER_SPOOLED,
    ANSWER_STORED,
    AUDIT_CONTINUE,
    AUDIT_REFUSE,
    DECODE,
    EXPLICIT_LE,
    SHA256,
    STORED,
    STREAMING,
    STRUCTURE,
    WholeNumber,
    parse_auth,
    parse_datastore_ids,
    parse_file_syntax,
    parse_flag,
    parse_host,
    parse_level,
    parse_load_balancer_arn,
    parse_log_format,
    parse_log_group,
    parse_memory,
    parse_one_of,
    parse_origins,
    parse_path,
    parse_rate,
    parse_scopes,
    parse_seconds,
    parse_secret,
    parse_some_of,
    parse_syslog,
    parse_text,
    parse_time_of_day,
    parse_tls,
    parse_url,
    parse_words,
)
from app.setting_suggestions import suggestions
from db import tls
from runtime.hosts import is_loopback

T = TypeVar("T")

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


class SettingsError(ValueError):
    """One or more settings are wrong; the text has one line for each problem."""


class NotNowError(SettingsError):
    """A setting may be right, but what it names is not available; the next attempt may succeed."""


def _setting(default: T, parse: Callable[[str], T]) -> T:
    value: T = field(default=default, metadata={"parse": parse})
    return value


def _cores() -> int:
    return max(1, len(os.sched_getaffinity(0)))


STRANGERS_STORE = "STORE is true, but AUTH is none: others than this machine could store without a login"

_FOR_SCHEME = {
    "auth_users_file": "basic",
    "auth_tokens_file": "bearer",
    "oidc_issuer": "oidc",
    "oidc_client_id": "oidc",
    "alb_arn": "alb",
}
"""Settings that have no effect unless AUTH names their scheme; without it, a login would be expected in vain."""


@dataclass(frozen=True)
class Settings:
    """The settings; each field is the environment variable of its name in capitals.

    The docstring of a field is its text in doc/settings.md, which adds details.
    """

    settings_file: Path | None = _setting(None, parse_path)
    """File of lines `NAME=value`, which override the environment; SIGHUP reads it again."""

    embedded: bool | None = _setting(None, parse_flag)
    """`true`: serve the embedded data store on any address; `false`: never."""

    db_secret_arn: str | None = _setting(None, parse_text)
    """ARN of the secret in AWS Secrets Manager that says where the metadata index is."""

    database_url: str | None = _setting(None, parse_text)
    """SQLAlchemy URL of the metadata index, instead of `DB_SECRET_ARN`."""

    db_host: str | None = _setting(None, parse_host)
    """Host of the metadata index, for a secret that names none."""

    db_iam_auth: bool = _setting(False, parse_flag)
    """`true`: log in to Amazon RDS by IAM instead of a password."""

    db_tls: str | None = _setting(None, parse_tls)
    """TLS to the index: `verify`, `require` (any certificate is accepted) or `off`."""

    db_tls_ca: Path | None = _setting(None, parse_path)
    """PEM file of the CA certificates that verify the index; without it, those of the system."""

    db_pool_size: int = _setting(8, WholeNumber(1, 256))
    """Most connections of each web process to the index: 1 to 256."""

    db_statement_timeout_seconds: float = _setting(30.0, parse_seconds)
    """Longest time of one statement on the index: up to 86400 s."""

    index_write_secret_arn: str | None = _setting(None, parse_text)
    """ARN of a secret like that of `DB_SECRET_ARN`, with a login that may write to the index."""

    index_write_url: str | None = _setting(None, parse_text)
    """SQLAlchemy URL of the index with a login that may write, instead of `INDEX_WRITE_SECRET_ARN`."""

    index_events_queue_url: str | None = _setting(None, parse_url)
    """URL of the Amazon SQS queue with the events of AHI, for `python main.py index --follow`."""

    index_compare: time | None = _setting(None, parse_time_of_day)
    """Time of the day at which a follower compares the index with AHI, such as `03:00`; without it, never."""

    index_search_rate: float = _setting(25.0, parse_rate)
    """Most calls of SearchImageSets in a second by `python main.py index`: 0.001 to 1000000."""

    index_metadata_rate: float = _setting(50.0, parse_rate)
    """Most calls of GetImageSetMetadata in a second by `python main.py index`: 0.001 to 1000000."""

    ahi_datastore_ids: tuple[str, ...] = _setting((), parse_datastore_ids)
    """IDs or ARNs of the data stores that `python main.py index` fills the index from, separated by commas."""

    aws_default_region: str | None = _setting(None, parse_text)
    """AWS region of the data stores and of the secret."""

    ahi_deadline_seconds: float = _setting(10.0, parse_seconds)
    """Longest time of one call to AHI, its retries included: up to 86400 s."""

    host: str = _setting("0.0.0.0", parse_text)  # noqa: S104 - a server; the embedded default says 127.0.0.1
    """Address to listen on."""

    port: int = _setting(8080, WholeNumber(1, 65_535))
    """Port to listen on: 1 to 65535."""

    public_url: str | None = _setting(None, parse_url)
    """URL under which clients reach the service, without `/aetitle`."""

    trusted_proxy: tuple[Network, ...] = _setting((), parse_networks)
    """Addresses and networks of trusted reverse proxies, separated by commas."""

    ae_titles: tuple[AeTitle, ...] = _setting((), parse_ae_titles)
    """JSON object of further AE titles, and the part of the archive that each shows."""

    dcm4chee_paths: bool = _setting(False, parse_flag)
    """`true`: every AE title is also found at the path that dcm4chee uses."""

    console: bool = _setting(True, parse_flag)
    """`false`: no web console at `/console`."""

    session_secret: str | None = _setting(None, parse_secret)
    """Secret that signs the sessions of the console: at least 32 characters; without it, a new one at each start."""

    cors_origins: tuple[str, ...] = _setting((), parse_origins)
    """Origins of web pages that may read answers, separated by commas."""

    web_processes: int = _setting(min(_cores(), 8), WholeNumber(1, 64))
    """Processes that answer requests, all on one port: 1 to 64."""

    auth: tuple[str, ...] = _setting((), parse_auth)
    """Ways to log in, separated by commas: `basic`, `bearer`, `oidc`, `alb`; `none` for no login."""

    auth_users_file: Path | None = _setting(None, parse_path)
    """For `basic`: file of names and password hashes, as `htpasswd -B` writes it."""

    auth_tokens_file: Path | None = _setting(None, parse_path)
    """For `bearer`: file of the lines that `python main.py token NAME` prints."""

    auth_query_token: bool = _setting(False, parse_flag)
    """`true`: a token may also be the query parameter `access_token`."""

    auth_name_claim: str = _setting("sub", parse_text)
    """For `oidc` and `alb`: claim with the name of the user, as a dotted path."""

    auth_groups_claim: str = _setting("groups", parse_text)
    """For `oidc` and `alb`: claim with the groups of the user, as a dotted path."""

    oidc_issuer: str | None = _setting(None, parse_url)
    """For `oidc`: URL of the issuer, exactly as in its tokens."""

    oidc_audience: tuple[str, ...] = _setting((), parse_words)
    """For `oidc`: audiences, separated by commas; `aud` must name one of them."""

    oidc_algorithms: tuple[str, ...] = _setting(("RS256",), parse_some_of(ALGORITHMS))
    """For `oidc`: algorithms that tokens may be signed with, separated by commas."""

    oidc_client_id: str | None = _setting(None, parse_text)
    """For `oidc`: ID of this service at the issuer, with which people sign in at the console."""

    oidc_client_secret: str | None = _setting(None, parse_text)
    """For `oidc`: secret of that client; without it, a public client."""

    oidc_scopes: tuple[str, ...] = _setting(("openid",), parse_scopes)
    """For `oidc`: scopes that the console asks for, separated by commas; `openid` is one of them."""

    alb_arn: str | None = _setting(None, parse_load_balancer_arn)
    """For `alb`: ARN of the load balancer whose logins count."""

    alb_public_keys_url: str | None = _setting(None, parse_url)
    """For `alb`: URL of the keys that it signs with; without it, that of AWS in its region."""

    access_rules: Path | None = _setting(None, parse_path)
    """JSON file of the rules that say what each caller may see."""

    link_secret: str | None = _setting(None, parse_secret)
    """Secret that signs share links: at least 32 characters; without it there are no links."""

    audit: str = _setting("none", parse_one_of("none", "file", "syslog", "stdout", "cloudwatch"))
    """Destination of the audit messages: `none`, `file`, `syslog`, `stdout` or `cloudwatch`."""

    audit_file: Path | None = _setting(None, parse_path)
    """For `AUDIT=file`: file to which each message adds one line of XML."""

    audit_log_group: str | None = _setting(None, parse_log_group)
    """For `AUDIT=cloudwatch`: log group of Amazon CloudWatch Logs, in `AWS_DEFAULT_REGION`."""

    audit_syslog: str | None = _setting(None, parse_syslog)
    """For `AUDIT=syslog`: URL of the receiver, `tls://host:6514` or `udp://host:514`."""

    audit_syslog_ca: Path | None = _setting(None, parse_path)
    """PEM file of the CAs that verify the receiver; without it, those of the system."""

    audit_syslog_cert: Path | None = _setting(None, parse_path)
    """PEM file of our certificate, for a receiver that asks for one."""

    audit_syslog_key: Path | None = _setting(None, parse_path)
    """PEM file of the key of our certificate, if that is not in the same file."""

    audit_source: str | None = _setting(None, parse_text)
    """AuditSourceID of all messages; without it, the host name."""

    audit_failure: str = _setting(AUDIT_CONTINUE, parse_one_of(AUDIT_CONTINUE, AUDIT_REFUSE))
    """Reaction while nothing can be audited: `continue` to answer, or `refuse` with 503."""

    rate_limit: float | None = _setting(None, parse_rate)
    """Most requests of one client in a second: 0.001 to 1000000; without it there is no limit."""

    rate_limit_burst: int = _setting(200, WholeNumber(1, 1_000_000))
    """Requests that a client may make at once before the rate limit applies: 1 to 1000000."""

    client_max_requests: int = _setting(256, WholeNumber(1, 1000))
    """Most requests of one address in one web process, those that wait included: 1 to 1000."""

    max_requests: int = _setting(768, WholeNumber(1, 1000))
    """Most requests of all clients in one web process, those that wait included: 1 to 1000."""

    client_max_connections: int = _setting(256, WholeNumber(1, 30_000))
    """Most connections of one address to one web process: 1 to 30000."""

    max_connections: int = _setting(1000, WholeNumber(1, 30_000))
    """Most connections of all addresses to one web process: 1 to 30000."""

    slow_client_seconds: float = _setting(60.0, parse_seconds)
    """Time for a request to arrive, and for an answer to flow at 1 KiB/s: up to 86400 s."""

    response_deadline_seconds: float = _setting(3600.0, parse_seconds)
    """Longest time of one answer, which is then cut off: up to 86400 s."""

    web_threads: int = _setting(32, WholeNumber(1, 512))
    """Requests that each web process answers at the same time: 1 to 512."""

    frame_fetchers: int = _setting(min(_cores(), 16), WholeNumber(1, 64))
    """FrameFetcher processes: 1 to 64."""

    fetch_threads: int = _setting(32, WholeNumber(2, 256))
    """Calls to AHI and decodings at the same time in each FrameFetcher: 2 to 256."""

    prefetch_frames: int = _setting(64, WholeNumber(0, 4096))
    """Frames that are prefetched around a requested one: 0 to 4096."""

    prefetch_max_bytes: int = _setting(128 * 2**20, WholeNumber(0, 2**40))
    """Most decoded bytes of the frames that are prefetched around one: 0 to 1 TiB."""

    prefetch: tuple[PrefetchRule, ...] = _setting((), parse_schedule)
    """Schedule of the studies that are loaded in advance, as rules separated by commas."""

    memory_max: int = _setting(2 * 2**30, parse_memory)
    """Most memory of one process in bytes: 0 for no bound, or 128 MiB to 1 PiB."""

    cache_root: Path = _setting(Path("cache"), parse_path)
    """Folder of the cache."""

    cache_max_bytes: int = _setting(10 * 2**30, WholeNumber(2**20, 2**60))
    """Most bytes in the cache: 1 MiB to 1 EiB."""

    cache_min_free_bytes: int = _setting(512 * 2**20, WholeNumber(0, 2**60))
    """Free bytes that the disk of the cache must keep: 0 to 1 EiB."""

    frame_max_bytes: int = _setting(256 * 2**20, WholeNumber(2**20, 2**36))
    """Largest frame that is decoded, in decoded bytes: 1 MiB to 64 GiB."""

    metadata_max_bytes: int = _setting(256 * 2**20, WholeNumber(2**20, 2**36))
    """Most bytes of text in the metadata of an image set, unpacked: 1 MiB to 64 GiB."""

    image_set_fresh_seconds: float = _setting(60.0, parse_seconds)
    """Time for which an image set counts as current without another check: up to 86400 s."""

    image_set_unchecked_seconds: int = _setting(3600, WholeNumber(0, 86_400))
    """Time for which an image set is served without a check if AHI fails: 0 to 86400 s."""

    verify_frames: str = _setting(STRUCTURE, parse_one_of(STRUCTURE, DECODE))
    """Check of frames from AHI: `structure`, or `decode` for a decoding in the background as well."""

    image_set_old_seconds: int = _setting(3600, WholeNumber(0, 86_400))
    """Time for which frames and bulk values of earlier versions can be retrieved: 0 to 86400 s."""

    part10_unnamed: str = _setting(EXPLICIT_LE, parse_file_syntax)
    """Transfer syntax of DICOM objects for clients that name none: `explicit-le` or `stored`."""

    part10_any: str = _setting(STORED, parse_file_syntax)
    """Transfer syntax of DICOM objects for `transfer-syntax=*`: `stored` or `explicit-le`."""

    max_results: int = _setting(5000, WholeNumber(1, 1_000_000))
    """Most results of one search: 1 to 1000000."""

    search_max_image_sets: int = _setting(100, WholeNumber(0, 100_000))
    """Most image sets that one search reads for values that the index lacks: 0 to 100000."""

    store: bool = _setting(False, parse_flag)
    """`true`: clients may store instances (STOW-RS)."""

    store_datastore_id: str | None = _setting(None, parse_datastore_id)
    """ID of the data store to which instances are stored, unless their AE title names another one."""

    store_answer: str = _setting(ANSWER_STORED, parse_one_of(ANSWER_STORED, ANSWER_SPOOLED))
    """Time of the answer to a store request: `stored`, or `spooled` when the instances are safe in the spool."""

    store_max_bytes: int = _setting(4 * 2**30, WholeNumber(2**20, 2**40))
    """Most bytes in the body of one store request: 1 MiB to 1 TiB."""

    store_wait_seconds: float = _setting(120.0, parse_seconds)
    """Longest time that a client waits until its instances are stored: up to 86400 s."""

    ahi_stow_endpoint: str | None = _setting(None, parse_url)
    """URL of the STOW-RS service of AHI; without it, that of `AWS_DEFAULT_REGION`."""

    ahi_stow_digest: str = _setting(SHA256, parse_one_of(SHA256, STREAMING))
    """Digest of the body that requests to that service sign: `sha256`, or the literal value of `streaming`."""

    spool_shared: bool = _setting(False, parse_flag)
    """`true`: several services share `SPOOL_ROOT`, and each has a folder of its own in it."""

    spool_root: Path = _setting(Path("spool"), parse_path)
    """Folder of the instances that were received and are not stored yet."""

    spool_min_free_bytes: int = _setting(2**30, WholeNumber(0, 2**60))
    """Free bytes that the disk of the spool must keep: 0 to 1 EiB."""

    metrics_port: int | None = _setting(None, WholeNumber(1, 65_535))
    """Port of `/metrics` for Prometheus: 1 to 65535; without it there are no metrics."""

    metrics_host: str = _setting("127.0.0.1", parse_text)
    """Address that `/metrics` listens on."""

    log_level: str = _setting("INFO", parse_level)
    """Lowest level that is logged: `DEBUG`, `INFO`, `WARNING` or `ERROR`."""

    log_format: str = _setting("text", parse_log_format)
    """Format of the log: `text`, or `json` for one object a line."""

    viewer_root: Path | None = _setting(None, parse_path)
    """Folder of the viewer that is served at `/viewer`, as `script/viewer` makes it; without it, there is no viewer."""

    datastore_root: Path = _setting(Path("data"), parse_path)
    """Folder of the embedded data store, its index and its cache."""

    datastore_faults: str | None = _setting(None, parse_text)
    """Faults that the embedded data store injects, for tests."""

    datastore_clean_index: bool = _setting(True, parse_flag)
    """`false`: fill AWS's tables as the AWS index writer does, for tests."""

    datastore_populate_instances: bool = _setting(True, parse_flag)
    """`false`: fill AWS's tables without instances."""

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)

    @property
    def lets_strangers_store(self) -> bool:
        """Whether others than this machine could store without a login."""
        return self.store and not self.auth and not self.serves_this_machine_alone

    @property
    def serves_this_machine_alone(self) -> bool:
        """Whether nobody else reaches the service, not even through a proxy on this machine."""
        return self.on_loopback and not self.trusted_proxy and is_loopback(urlsplit(self.public_url or "").hostname)

    @property
    def names_store_target(self) -> bool:
        """Whether some AE title has a data store for what clients store."""
        return bool(self.store_datastore_id) or any(title.target(None) for title in self.ae_titles)

    @property
    def names_index(self) -> bool:
        """Whether DB_SECRET_ARN or DATABASE_URL says where the metadata index is."""
        return self.db_secret_arn is not None or self.database_url is not None

    @property
    def may_write_index(self) -> bool:
        """Whether INDEX_WRITE_SECRET_ARN or INDEX_WRITE_URL gives a login that writes to the index."""
        return self.index_write_secret_arn is not None or self.index_write_url is not None

    def _paths(self) -> list[tuple[str, Path]]:
        """The files and folders that settings name, but for the cache: defaults count if they are used."""
        paths = [(setting, getattr(self, setting.name)) for setting in fields(self) if setting.name != "cache_root"]
        unused = {"spool_root": not self.store, "datastore_root": self.names_index}
        return [(variable(one), path) for one, path in paths if isinstance(path, Path) and not unused.get(one.name)]

    @property
    def contradictions(self) -> list[str]:
        """One line for each pair of settings that contradict each other."""
        problems = []
        if self.db_secret_arn and self.database_url:
            problems.append("DB_SECRET_ARN and DATABASE_URL are both set: set one of them")
        if self.index_write_secret_arn and self.index_write_url:
            problems.append("INDEX_WRITE_SECRET_ARN and INDEX_WRITE_URL are both set: set one of them")
        if (self.names_index or self.may_write_index) and not self.aws_default_region:
            problems.append("AWS_DEFAULT_REGION is not set: calls to AWS HealthImaging need a region")
        if self.db_iam_auth and self.db_tls not in (None, tls.VERIFY):
            problems.append("DB_IAM_AUTH sends the database a token, so DB_TLS must be verify: only RDS may see it")
        for name, scheme in _FOR_SCHEME.items():
            if getattr(self, name) and scheme not in self.auth:
                problems.append(f"{name.upper()} is set, but AUTH has no {scheme}: it has no effect")
        if self.oidc_client_secret and not self.oidc_client_id:
            problems.append("OIDC_CLIENT_SECRET is set, but OIDC_CLIENT_ID is not: it has no effect")
        problems += [
            f"{name} is inside CACHE_ROOT: keep it elsewhere, a cache may be emptied at any time"
            for name, path in self._paths()
            if path.resolve().is_relative_to(self.cache_root.resolve())
        ]
        if self.access_rules and not self.auth:
            problems.append("ACCESS_RULES is set, but AUTH is none: rules need a login")
        if self.names_index and self.lets_strangers_store:
            problems.append(STRANGERS_STORE)
        if self.names_index and self.store and not self.names_store_target:
            problems.append("STORE is true, but neither STORE_DATASTORE_ID nor AE_TITLES names a data store for it")
        return problems

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the settings of an environment; an empty variable counts as not set.

        SettingsError has one line for each problem.
        """
        values: dict[str, Any] = {}
        names = [variable(setting) for setting in fields(cls)]
        from_file = read_settings_file(environ.get("SETTINGS_FILE", "").strip())
        problems = suggestions(environ, names)
        problems += [f"{name} is no setting, but SETTINGS_FILE has it" for name in from_file if name not in names]
        environ = {**environ, **from_file}
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
    """Read the lines `NAME=value` of a file; SettingsError for other lines. Without a path there are none."""
    if not path:
        return {}
    try:
        lines = parse_path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"SETTINGS_FILE {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"SETTINGS_FILE {path}: is not UTF-8") from error
    except ValueError as error:
        raise SettingsError(f"SETTINGS_FILE {error}") from error
    values = {}
    for number, line in enumerate(lines, 1):
        name, equals, value = line.partition("=")
        if line.strip() and not line.startswith("#"):
            if not equals or not _NAME.fullmatch(name.strip()):  # any other line may be a secret
                raise SettingsError(f"SETTINGS_FILE {path}: line {number} is not NAME=value")
            values[name.strip()] = value.strip()
    return values


def variable(setting: "Field[Any]") -> str:
    """The environment variable of a field."""
    return setting.name.upper()

"""The audit trail that the settings ask for."""

import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import lru_cache
from typing import TypeVar
from urllib.parse import urlsplit

from app.audit.cloudwatch import CloudWatchLogs
from app.audit.destinations import Destination, FileSink, StandardOutput, SyslogTls, SyslogUdp
from app.audit.event import Event, EventKind
from app.audit.message import Source
from app.audit.queue import AuditQueue
from app.setting_parsers import AUDIT_REFUSE
from app.settings import Settings, SettingsError
from db.engine import Database
from db.studies import find_patient_id
from dicomweb.errors import ProxyError

T = TypeVar("T")

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
"""What a process that ends gives its trail to write what waits."""

_BELIEVED_SECONDS = 300  # the index may put a study right

_SYSLOG_PORTS = {"tls": 6514, "udp": 514}


def check_audit(settings: Settings) -> None:
    """SettingsError where the settings of the audit cannot work, whoever listens."""
    sink = find_sink(settings)
    if isinstance(sink, FileSink):
        try:
            sink.reach()
        except OSError as error:
            raise SettingsError(f"AUDIT_FILE {settings.audit_file}: {error.strerror}") from error


def open_trail(settings: Settings, database: Database) -> AuditQueue | None:
    """The trail of one process, None where nothing is audited; the index tells whose the studies are."""
    sink = find_sink(settings)
    if sink is None:
        return None
    patient_id, encode = _patient_ids(database), _encoder(settings)

    def write(event: Event) -> None:
        sink.write(encode(event, patient_id(event)))

    return AuditQueue(write, refuse=settings.audit_failure == AUDIT_REFUSE)


def announce(settings: Settings, kind: EventKind) -> None:
    """Audit that the service starts or stops, and wait for that; the log says so where it cannot be."""
    try:
        if sink := find_sink(settings):
            with closing(sink):
                sink.write(_encoder(settings)(Event(kind), None))
    except (OSError, SettingsError) as error:
        log.error("audit cannot be written reason=%s", getattr(error, "strerror", None) or error)


def _encoder(settings: Settings) -> Callable[[Event, str | None], bytes]:
    source = Source(settings.audit_source or socket.gethostname())
    return source.json if settings.audit in ("stdout", "cloudwatch") else source.xml


def _patient_ids(database: Database) -> Callable[[Event], str | None]:
    """Whose data an event is about, as far as the index knows; asked by the thread that writes."""

    @lru_cache(4096)
    def find(study_instance_uid: str, _moment: int) -> str | None:
        return find_patient_id(database, study_instance_uid)

    def patient_id(event: Event) -> str | None:
        if not event.study_instance_uid or event.outcome or event.kind is EventKind.QUERY:
            return None
        try:
            return find(event.study_instance_uid, int(event.at.timestamp() / _BELIEVED_SECONDS))
        except ProxyError:
            return None

    return patient_id


def find_sink(settings: Settings) -> Destination | None:
    """Where messages go, None where nothing is audited; SettingsError where that is not said."""
    return _SINKS[settings.audit](settings)


def _file(settings: Settings) -> Destination:
    return FileSink(_needed(settings.audit_file, "AUDIT_FILE", "AUDIT=file"))


def _cloudwatch(settings: Settings) -> Destination:
    group = _needed(settings.audit_log_group, "AUDIT_LOG_GROUP", "AUDIT=cloudwatch")
    return CloudWatchLogs(group, settings.aws_default_region)


def _syslog(settings: Settings) -> Destination:
    if not settings.audit_syslog:
        raise SettingsError("AUDIT_SYSLOG is not set, which AUDIT=syslog needs")
    parts = urlsplit(settings.audit_syslog)
    host, port = parts.hostname or "", parts.port or _SYSLOG_PORTS[parts.scheme]
    return SyslogUdp(host, port) if parts.scheme == "udp" else SyslogTls(host, port, _tls(settings))


def _tls(settings: Settings) -> ssl.SSLContext:
    """The receiver is verified, by the CAs of the system or by AUDIT_SYSLOG_CA; our certificate is shown if set."""
    if settings.audit_syslog_key and not settings.audit_syslog_cert:
        raise SettingsError("AUDIT_SYSLOG_KEY is set, but no AUDIT_SYSLOG_CERT that it would be the key of")
    with _loading("AUDIT_SYSLOG_CA", "holds no certificates in PEM"):
        context = ssl.create_default_context(cafile=settings.audit_syslog_ca)
    if settings.audit_syslog_cert:
        with _loading("AUDIT_SYSLOG_CERT, AUDIT_SYSLOG_KEY", "no certificate and its key, not encrypted, in PEM"):
            context.load_cert_chain(settings.audit_syslog_cert, settings.audit_syslog_key, password="")
    return context


@contextmanager
def _loading(variables: str, otherwise: str) -> Iterator[None]:
    """SettingsError where files cannot be read, or, in the words of `otherwise`, are not what is needed."""
    try:
        yield
    except OSError as error:  # ssl's own is one
        reason = otherwise if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingsError(f"{variables}: {reason}") from error


def _needed(value: T | None, variable: str, by: str) -> T:
    if value is None:
        raise SettingsError(f"{variable} is not set, which {by} needs")
    return value


_SINKS: Mapping[str, Callable[[Settings], Destination | None]] = {
    "none": lambda _: None,
    "file": _file,
    "syslog": _syslog,
    "stdout": lambda _: StandardOutput(),
    "cloudwatch": _cloudwatch,
}

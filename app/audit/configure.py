"""The audit trail, as the settings describe it."""

import logging
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import lru_cache, partial
from typing import TypeVar
from urllib.parse import urlsplit

from app.audit.cloudwatch import CloudWatchLogs
from app.audit.destinations import Destination, FileDestination, StandardOutput, SyslogTls, SyslogUdp
from app.audit.event import Event, EventKind
from app.audit.message import Source
from app.audit.queue import AuditQueue
from app.setting_parsers import AUDIT_REFUSE
from app.settings import Settings, SettingsError
from db.engine import Database
from db.studies import find_patient_id
from dicomweb.errors import ProxyError
from runtime.shared_metrics import Metric, ProcessMetrics

T = TypeVar("T")

log = logging.getLogger(__name__)

FLUSH_SECONDS = 1.0
"""The time that a process waits for its last audit messages when it ends."""

_BELIEVED_SECONDS = 300  # the index may correct the patient of a study

_SYSLOG_PORTS = {"tls": 6514, "udp": 514}


def check_audit(settings: Settings) -> None:
    """SettingsError if the settings of the audit cannot work; a receiver that is away is no error."""
    destination = find_destination(settings)
    if isinstance(destination, FileDestination):
        try:
            destination.reach()
        except OSError as error:
            raise SettingsError(f"AUDIT_FILE {settings.audit_file}: {error.strerror}") from error


def open_trail(settings: Settings, database: Database, process_metrics: ProcessMetrics) -> AuditQueue | None:
    """Make the queue of one process, None if nothing is audited. The index has the Patient ID of each study."""
    destination = find_destination(settings)
    if destination is None:
        return None
    patient_id, encode = _patient_ids(database), _encoder(settings)

    def write(event: Event) -> None:
        destination.write(encode(event, patient_id(event)))

    tell_failing = partial(process_metrics.set, Metric.AUDIT_FAILING)
    return AuditQueue(write, refuse=settings.audit_failure == AUDIT_REFUSE, tell_failing=tell_failing)


def announce(settings: Settings, kind: EventKind) -> None:
    """Write an event of the service itself, its start or its end, and wait for that; an error is logged."""
    try:
        if destination := find_destination(settings):
            with closing(destination):
                destination.write(_encoder(settings)(Event(kind), None))
    except (OSError, SettingsError) as error:
        log.error("audit cannot be written reason=%s", getattr(error, "strerror", None) or error)


def _encoder(settings: Settings) -> Callable[[Event, str | None], bytes]:
    source = Source(settings.audit_source or socket.gethostname())
    return source.json if settings.audit in ("stdout", "cloudwatch") else source.xml


def _patient_ids(database: Database) -> Callable[[Event], str | None]:
    """A function that finds the Patient ID of an event in the index, for the thread that writes."""

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


def find_destination(settings: Settings) -> Destination | None:
    """Make the destination of messages, None if nothing is audited; SettingsError if a setting is missing."""
    return _DESTINATIONS[settings.audit](settings)


def _file(settings: Settings) -> Destination:
    return FileDestination(_needed(settings.audit_file, "AUDIT_FILE", "AUDIT=file"))


def _cloudwatch(settings: Settings) -> Destination:
    group = _needed(settings.audit_log_group, "AUDIT_LOG_GROUP", "AUDIT=cloudwatch")
    return CloudWatchLogs(group, settings.aws_default_region)


def _syslog(settings: Settings) -> Destination:
    if not settings.audit_syslog:
        raise SettingsError("AUDIT_SYSLOG is not set, which AUDIT=syslog needs")
    host, port = syslog_address(settings)
    is_udp = urlsplit(settings.audit_syslog).scheme == "udp"
    return SyslogUdp(host, port) if is_udp else SyslogTls(host, port, _tls(settings))


def syslog_address(settings: Settings) -> tuple[str, int]:
    """Host and port of the receiver that AUDIT_SYSLOG names."""
    parts = urlsplit(settings.audit_syslog or "")
    return parts.hostname or "", parts.port or _SYSLOG_PORTS[parts.scheme]


def _tls(settings: Settings) -> ssl.SSLContext:
    """Make the TLS context: it verifies the receiver, and has our certificate if AUDIT_SYSLOG_CERT is set."""
    if settings.audit_syslog_key and not settings.audit_syslog_cert:
        raise SettingsError("AUDIT_SYSLOG_KEY is set, but no AUDIT_SYSLOG_CERT that it belongs to")
    with _loading("AUDIT_SYSLOG_CA", "holds no certificates in PEM"):
        context = ssl.create_default_context(cafile=settings.audit_syslog_ca)
    if settings.audit_syslog_cert:
        with _loading("AUDIT_SYSLOG_CERT, AUDIT_SYSLOG_KEY", "no certificate and its key, not encrypted, in PEM"):
            context.load_cert_chain(settings.audit_syslog_cert, settings.audit_syslog_key, password="")
    return context


@contextmanager
def _loading(variables: str, otherwise: str) -> Iterator[None]:
    """SettingsError if a file cannot be read, or does not have the right content, with the text `otherwise`."""
    try:
        yield
    except OSError as error:  # SSLError is one, too
        reason = otherwise if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingsError(f"{variables}: {reason}") from error


def _needed(value: T | None, variable: str, by: str) -> T:
    if value is None:
        raise SettingsError(f"{variable} is not set, which {by} needs")
    return value


_DESTINATIONS: Mapping[str, Callable[[Settings], Destination | None]] = {
    "none": lambda _: None,
    "file": _file,
    "syslog": _syslog,
    "stdout": lambda _: StandardOutput(),
    "cloudwatch": _cloudwatch,
}

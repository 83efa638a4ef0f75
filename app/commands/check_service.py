"""The checks of the service itself: settings, cache, audit, traces, processes."""

import os
import shutil
from collections.abc import Iterator

from ahi.client.identity import endpoint_url
from app.audit.configure import find_destination, syslog_address
from app.auth.configure import open_gate
from app.check_result import ERROR, OK, WARNING, CheckResult, reason_of
from app.commands.remote import Remote
from app.processes.resources import open_cache
from app.setting_parsers import AUDIT_REFUSE
from app.settings import Settings, SettingsError
from app.telemetry.metrics import replaced_processes
from app.telemetry.tracing import find_tracing

_AUDIT_ADVICE = {
    "file": "let the user of the service write there; under systemd, use the folder /var/log/ahi-dicomweb-proxy",
    "syslog": "start the receiver and let the service reach it; AUDIT_SYSLOG_CA names the CA of its certificate,"
    " AUDIT_SYSLOG_CERT the certificate that it may ask for",
    "cloudwatch": "make the log group AUDIT_LOG_GROUP, and allow logs:CreateLogStream and logs:PutLogEvents on it",
}
_LEAST_FREE_BYTES = 2**26
"""The free space that the disk of the audit file needs; a message has about 2 KB."""

_REPLACED = {"died": "died", "hung": "hung", "memory": "over MEMORY_MAX"}
"""The words for each reason of a replacement."""

_REPLACED_ADVICE = {
    "died": "see the log for the time, and the kernel's log for a lack of memory",
    "hung": "report the stacks of its threads; the log has them after `process is hung`",
    "memory": "if it happens often, set a larger MEMORY_MAX and add memory",
}


def check_settings(settings: Settings) -> Iterator[CheckResult]:
    """The files that settings name can be read, and others need a login."""
    try:
        gate = open_gate(settings)
    except SettingsError as error:
        yield CheckResult("settings", ERROR, str(error), "correct the setting")
        return
    if not gate.authenticators and not settings.on_loopback:
        finding = "AUTH is none: everybody who reaches the service sees the whole archive"
        yield CheckResult("settings", WARNING, finding, "set AUTH, or let only trusted hosts reach the port")
    else:
        yield CheckResult("settings", OK, "readable and complete")


def check_cache(settings: Settings) -> Iterator[CheckResult]:
    """The cache can be written to, and its disk has room."""
    try:
        write_error = open_cache(settings).write_error()
    except SettingsError as error:
        yield CheckResult("cache", ERROR, str(error), "let the user of the service write there")
        return
    if write_error:
        finding = f"CACHE_ROOT {settings.cache_root}: {write_error.strerror}"
        yield CheckResult("cache", ERROR, finding, "repair the disk: nothing is cached now")
        return
    free, needed = shutil.disk_usage(settings.cache_root).free, settings.cache_min_free_bytes
    if free < needed:
        finding = f"{free} bytes are free, fewer than CACHE_MIN_FREE_BYTES"
        yield CheckResult("cache", WARNING, finding, "make room on the disk: nothing is cached now")
    elif free < settings.cache_max_bytes:
        finding = f"{free} bytes are free, fewer than CACHE_MAX_BYTES, unless the cache already holds the rest"
        yield CheckResult("cache", WARNING, finding, "use a larger disk, or a smaller CACHE_MAX_BYTES")
    else:
        yield CheckResult("cache", OK, f"writable, {free} bytes free")


def check_audit(settings: Settings) -> CheckResult:
    """The audit trail can be written; a receiver that is away is an ERROR only with AUDIT_FAILURE=refuse."""
    try:
        destination = find_destination(settings)
    except SettingsError as error:
        return CheckResult("audit", ERROR, str(error), "correct the setting")
    if destination is None:
        return CheckResult(
            "audit", WARNING, "AUDIT is none: accesses are not recorded", "set AUDIT; see doc/security.md"
        )
    named = {"file": settings.audit_file, "syslog": settings.audit_syslog, "cloudwatch": settings.audit_log_group}
    where = str(named.get(settings.audit, settings.audit))
    try:
        destination.reach()
    except OSError as error:
        fatal = settings.audit == "file" or settings.audit_failure == AUDIT_REFUSE
        finding = _unwritable(settings, where, error)
        return CheckResult("audit", ERROR if fatal else WARNING, finding, _AUDIT_ADVICE[settings.audit])
    if settings.audit == "file" and settings.audit_file:
        free = shutil.disk_usage(settings.audit_file.parent).free
        if free < _LEAST_FREE_BYTES:
            return CheckResult("audit", WARNING, f"{where}: {free} bytes are free", "make room, or rotate the file")
    return CheckResult("audit", OK, f"{where} can be written to")


def _unwritable(settings: Settings, where: str, error: OSError) -> str:
    """The reason why a destination cannot be written to, with its host and port if it has one."""
    said = f"{where} cannot be written to"
    match settings.audit:
        case "cloudwatch":
            return Remote.from_url(endpoint_url("logs", settings.aws_default_region)).describe(
                "CreateLogStream", error, said
            )
        case "syslog":
            return Remote.from_address(*syslog_address(settings)).describe("a connection", error, said)
        case _:
            return f"{said}: {reason_of(error)}"


def check_traces() -> Iterator[CheckResult]:
    """The collector takes traces; no result if none are asked for."""
    try:
        tracing = find_tracing(os.environ)
    except SettingsError as error:
        yield CheckResult("traces", ERROR, str(error), "correct the variable")
        return
    if tracing and tracing.is_taken():
        yield CheckResult("traces", OK, "the collector accepts them")
    elif tracing:
        tried = Remote.from_url(tracing.endpoint).tried("an export")
        finding = f"the collector does not accept them: they are lost ({tried})"
        advice = "start the collector, and let the service reach it; check OTEL_EXPORTER_OTLP_ENDPOINT and _HEADERS"
        yield CheckResult("traces", WARNING, finding, advice)


def check_processes(settings: Settings) -> Iterator[CheckResult]:
    """The processes that the running service has replaced; no result without METRICS_PORT."""
    if settings.metrics_port is None:
        return
    try:
        replaced = replaced_processes(settings.metrics_host, settings.metrics_port)
    except OSError as error:
        metrics = Remote.from_address(settings.metrics_host, settings.metrics_port)
        finding = metrics.describe("GET /metrics", error, "the metrics of the service cannot be read")
        yield CheckResult(
            "processes", WARNING, finding, "start the service; if it runs, check whether its process `metrics` runs"
        )
        return
    if not replaced:
        yield CheckResult("processes", OK, "none was replaced since the service started")
    for (process, reason), number in sorted(replaced.items()):
        yield CheckResult(
            "processes", WARNING, f"{process}: {number} replaced ({_REPLACED[reason]})", _REPLACED_ADVICE[reason]
        )

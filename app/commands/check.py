"""`python main.py check`: whether all that the service needs is as it should be, and what to do where it is not."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from ahi.client.calls import AhiClient
from ahi.client.identity import caller_arn
from ahi.image_sets.image_set import ImageSet, ImageSetKey
from ahi.workers.frame_check import frame_fault
from app.audit.configure import find_sink
from app.auth.configure import open_gate
from app.processes.service import find_index, find_trust, open_cache
from app.settings import AUDIT_REFUSE, Settings, SettingsError
from app.telemetry.metrics import replaced_processes
from app.telemetry.tracing import find_tracing
from db import inspection, tls
from db.engine import Database
from db.indexes import missing_indexes
from db.inspection import SampleFrame
from dicomweb.errors import NotFound, ProxyError, UpstreamBusy, UpstreamFailed
from dicomweb.transfer_syntax import HTJ2K_LOSSLESS_RPCL
from runtime.hosts import is_loopback

_SAMPLE = 20
_NO_STUDY = "2.25.0"  # whether a study is found is of no account
_SKEW_SECONDS = 60
"""AWS refuses signatures whose time is five minutes off."""

_AUDIT_ADVICE = {
    "file": "let the user of the service write there; the unit has the folder /var/log/ahi-dicomweb-proxy for it",
    "syslog": "start the receiver and let the service reach it; AUDIT_SYSLOG_CA has who signed its certificate,"
    " AUDIT_SYSLOG_CERT what it may want to see",
}
_LEAST_FREE_BYTES = 2**26
"""On the disk of the audit file: a message has about 2 KB."""

_UNREACHABLE = "check host, port, user, security group; where it is not trusted, DB_TLS_CA"

_REPLACED = {"died": "died", "hung": "hung", "memory": "over MEMORY_MAX"}
_LOOK = {
    "died": "the log says when; the kernel's log, whether memory was short",
    "hung": "the log has the stacks of its threads behind `process is hung`; report them",
    "memory": "where it happens often, a larger MEMORY_MAX and more memory",
}
"""By why a process was replaced: how that is told, and what to do."""

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True)
class CheckResult:
    """What was found: `level` is OK, WARNING or ERROR; `advice` says what to do, "" where all is well."""

    what: str
    level: str
    told: str
    advice: str = ""


def check_all(settings: Settings) -> list[CheckResult]:
    """All findings, in the order in which an operator would look for a cause."""
    findings = [*_settings(settings), *_cache(settings), _audit(settings), *_traces(), *_processes(settings)]
    findings.append(_identity(settings))
    try:
        database = Database(find_index(settings), find_trust(settings), pool_size=1)
    except SettingsError as error:
        return [
            *findings,
            CheckResult("database", ERROR, str(error), "correct the setting, or the rights to the secret"),
        ]
    try:
        findings += _guarded("database", _UNREACHABLE, lambda: _database(database, settings.db_tls))
        findings += _guarded("AHI", "check region, network, credentials, IAM policy", lambda: _ahi(settings, database))
    finally:
        database.close()
    return findings


def failed(findings: Sequence[CheckResult]) -> bool:
    """Whether the service cannot do its work."""
    return any(finding.level == ERROR for finding in findings)


def describe(findings: Sequence[CheckResult], *, as_json: bool) -> Iterator[str]:
    """The lines of a table, or one JSON list."""
    if as_json:
        yield json.dumps([asdict(finding) for finding in findings], indent=2)
        return
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        yield f"{finding.level:<8} {finding.what:<{width}}  {finding.told}"
        if finding.advice:
            yield f"{'':<8} {'':<{width}}  -> {finding.advice}"


def _guarded(what: str, advice: str, look: Callable[[], Iterator[CheckResult]]) -> Iterator[CheckResult]:
    """What `look` finds until it cannot look any further."""
    try:
        yield from look()
    except ProxyError as error:
        yield CheckResult(what, ERROR, str(error), advice)


def _settings(settings: Settings) -> Iterator[CheckResult]:
    try:
        gate = open_gate(settings)
    except SettingsError as error:
        yield CheckResult("settings", ERROR, str(error), "correct the setting")
        return
    if not gate.authenticators and not settings.on_loopback:
        told = "AUTH is none: whoever reaches the service sees all of it"
        yield CheckResult("settings", WARNING, told, "set AUTH, or let only trusted hosts reach the port")
    else:
        yield CheckResult("settings", OK, "readable and complete")


def _cache(settings: Settings) -> Iterator[CheckResult]:
    try:
        write_error = open_cache(settings).write_error()
    except SettingsError as error:
        yield CheckResult("cache", ERROR, str(error), "let the user of the service write there")
        return
    if write_error:
        told = f"CACHE_ROOT {settings.cache_root}: {write_error.strerror}"
        yield CheckResult("cache", ERROR, told, "repair the disk: nothing is cached now")
        return
    free, needed = shutil.disk_usage(settings.cache_root).free, settings.cache_min_free_bytes
    if free < needed:
        told = f"{free} bytes are free, fewer than CACHE_MIN_FREE_BYTES"
        yield CheckResult("cache", WARNING, told, "make room: nothing is cached now")
    elif free < settings.cache_max_bytes:
        told = f"{free} bytes are free, fewer than CACHE_MAX_BYTES, unless the cache already holds the rest"
        yield CheckResult("cache", WARNING, told, "a larger disk, or a smaller CACHE_MAX_BYTES")
    else:
        yield CheckResult("cache", OK, f"writable, {free} bytes free")


def _audit(settings: Settings) -> CheckResult:
    """Without `refuse` the service goes on when it cannot audit, which it does not where the settings are wrong."""
    try:
        sink = find_sink(settings)
    except SettingsError as error:
        return CheckResult("audit", ERROR, str(error), "correct the setting")
    if sink is None:
        return CheckResult("audit", OK, "AUDIT is none: nobody can tell later who saw what")
    where = str({"file": settings.audit_file, "syslog": settings.audit_syslog}.get(settings.audit, settings.audit))
    try:
        sink.reach()
    except OSError as error:
        lasting = settings.audit == "file" or settings.audit_failure == AUDIT_REFUSE
        told = f"{where} cannot be written to: {_reason(error)}"
        return CheckResult("audit", ERROR if lasting else WARNING, told, _AUDIT_ADVICE[settings.audit])
    if settings.audit == "file" and settings.audit_file:
        free = shutil.disk_usage(settings.audit_file.parent).free
        if free < _LEAST_FREE_BYTES:
            return CheckResult("audit", WARNING, f"{where}: {free} bytes are free", "make room, or rotate the file")
    return CheckResult("audit", OK, f"{where} can be written to")


def _reason(error: OSError) -> str:
    """In words, of TLS as well."""
    told = (getattr(error, "verify_message", None), getattr(error, "reason", None), error.strerror)
    return next((str(text) for text in told if text), type(error).__name__)


def _traces() -> Iterator[CheckResult]:
    """Nothing where none are asked for."""
    try:
        tracing = find_tracing(os.environ)
    except SettingsError as error:
        yield CheckResult("traces", ERROR, str(error), "correct the variable")
        return
    if tracing and tracing.is_taken():
        yield CheckResult("traces", OK, "the collector takes them")
    elif tracing:
        advice = "start the collector, and let the service reach it; check OTEL_EXPORTER_OTLP_ENDPOINT and _HEADERS"
        yield CheckResult("traces", WARNING, "the collector does not take them: they are lost", advice)


def _processes(settings: Settings) -> Iterator[CheckResult]:
    """What the running service tells of its processes, if it can be asked; it need not run."""
    if settings.metrics_port is None:
        return
    try:
        replaced = replaced_processes(settings.metrics_host, settings.metrics_port)
    except OSError as error:
        told = f"the service does not tell on METRICS_PORT {settings.metrics_port}: {_reason(error)}"
        yield CheckResult("processes", WARNING, told, "start it; if it runs, look whether its process metrics does")
        return
    if not replaced:
        yield CheckResult("processes", OK, "none was replaced since the service was started")
    for (process, reason), number in sorted(replaced.items()):
        yield CheckResult("processes", WARNING, f"{process}: {number} replaced ({_REPLACED[reason]})", _LOOK[reason])


def _identity(settings: Settings) -> CheckResult:
    try:
        return CheckResult("identity", OK, f"AWS knows the service as {caller_arn(settings.aws_default_region or '')}")
    except UpstreamBusy as error:
        return CheckResult(
            "identity", WARNING, str(error), "nothing, if AHI answers: the service itself does not ask STS"
        )
    except UpstreamFailed as error:
        return CheckResult(
            "identity", ERROR, str(error), "give the instance or task its role; doc/iam-policy.json has all"
        )


def _database(database: Database, tls_mode: str | None) -> Iterator[CheckResult]:
    version = inspection.version(database)
    before = time.monotonic()
    database.ping()
    answers = f"answers in {(time.monotonic() - before) * 1000:.1f} ms"
    yield CheckResult("database", OK, f"{database.kind} {version}, {answers}")
    yield _encryption(inspection.encrypted(database), tls_mode, is_loopback(database.host))
    writing = inspection.rights_to_write(database)
    if writing:
        told = f"the user may also {', '.join(writing)}"
        yield CheckResult("database grants", WARNING, told, "use a user with SELECT only; README.md has the statements")
    else:
        yield CheckResult("database grants", OK, "the user can only read")
    lacking = inspection.missing_columns(database)
    for table, columns in lacking.items():
        yield CheckResult("schema", ERROR, f"{table} lacks {', '.join(columns)}", "bring the index project up to date")
    if not lacking:
        yield CheckResult("schema", OK, "complete")
        for index in missing_indexes(database):
            advice = f"{index.create(database.kind)};"
            yield CheckResult("index", WARNING, f"no {index.name}, which makes quick: {index.buys}", advice)


def _encryption(encrypted: bool, tls_mode: str | None, on_this_machine: bool) -> CheckResult:
    match tls_mode:
        case None if on_this_machine:
            return CheckResult("database TLS", OK, "not needed, the database is on this machine")
        case _ if not encrypted:
            return CheckResult("database TLS", WARNING, "the connection is not encrypted", "do not set DB_TLS=off")
        case tls.REQUIRE:
            told = "encrypted, but the certificate is not verified"
            return CheckResult(
                "database TLS", WARNING, told, "DB_TLS=verify, and DB_TLS_CA where the CA is a private one"
            )
        case _:
            return CheckResult("database TLS", OK, "encrypted, the certificate is verified")


def _ahi(settings: Settings, database: Database) -> Iterator[CheckResult]:
    counts = inspection.image_sets_by_datastore(database)
    client = AhiClient(region=settings.aws_default_region or "", deadline_seconds=settings.ahi_deadline_seconds)
    try:
        before = time.time()
        now = client.ping(next(iter(counts), None))
        yield CheckResult("AHI", OK, f"answers in {(time.time() - before) * 1000:.0f} ms")
        yield from _clock(now, (before + time.time()) / 2)
        if not counts:
            yield CheckResult("data stores", WARNING, "the index is empty", "import into it, or check its name")
        for datastore_id, number in counts.items():
            told = f"{datastore_id} has {number} image sets in the index"
            yield CheckResult("data store", OK, told)
            yield from _operations(client, inspection.sample_of(database, datastore_id, _SAMPLE))
            yield _search(client, datastore_id)
    finally:
        client.close()


def _clock(theirs: float | None, ours: float) -> Iterator[CheckResult]:
    if theirs is None:
        return
    skew = ours - theirs
    if abs(skew) > _SKEW_SECONDS:
        yield CheckResult(
            "clock", ERROR, f"{skew:+.0f} s against AWS", "synchronise it (chrony); AWS refuses signatures"
        )
    else:
        yield CheckResult("clock", OK, f"within {_SKEW_SECONDS} s of AWS")


def _operations(client: AhiClient, sample: Sequence[SampleFrame]) -> Iterator[CheckResult]:
    """Each operation is tried on image sets that are there; those that are not are told."""
    gone, tried = [], False
    for one in sorted(sample, key=lambda one: not one.frame_id):  # with a frame, more can be tried
        key = ImageSetKey(one.row.datastore_id, one.row.image_set_id)
        try:
            properties = client.image_set(key)
        except NotFound:
            gone.append(key.image_set_id)
            continue
        if not tried:
            tried = True
            yield from _content(client, key, properties.version, one.frame_id)
    if gone:
        told = f"AHI no longer has {len(gone)} of {len(sample)}: {', '.join(gone)}"
        yield CheckResult("image sets", WARNING, told, "remove them from the index; they are not shown")
    elif sample:
        yield CheckResult("image sets", OK, f"AHI has the newest {len(sample)}; GetImageSet is allowed")


def _content(client: AhiClient, key: ImageSetKey, version: str, frame_id: str | None) -> Iterator[CheckResult]:
    """Metadata and a frame can be had, and are what they should be."""
    found: list[ImageSet] = []

    def take_in(blob: bytes) -> None:
        found.append(ImageSet.from_metadata(blob))

    yield _timed("GetImageSetMetadata", partial(client.image_set_metadata, key, version), take_in)
    framed = next((one for one in (found[0].instances if found else ()) if one.frames), None)
    if framed is None and frame_id is None:
        return
    known = framed.frames[0].frame_id if framed else str(frame_id)

    def look_at(stored: bytes) -> None:
        fault = framed and frame_fault(
            stored, framed.frames[0], framed.stored_transfer_syntax_uid or HTJ2K_LOSSLESS_RPCL, None
        )
        if fault:
            raise UpstreamFailed(f"something else than the frame came: {fault}")

    yield _timed("GetImageFrame", partial(client.image_frame, key, known), look_at)


def _search(client: AhiClient, datastore_id: str) -> CheckResult:
    """Whether AHI may be asked for the image sets of a study. Most of the service does without."""
    before = time.monotonic()
    try:
        client.search_study(datastore_id, _NO_STUDY)
    except ProxyError as error:
        told = f"{error}: studies whose image sets the index has lost cannot be opened"
        return CheckResult("SearchImageSets", WARNING, told, "allow it in the IAM policy; doc/iam-policy.json has all")
    return CheckResult("SearchImageSets", OK, f"allowed, {(time.monotonic() - before) * 1000:.0f} ms")


def _timed(operation: str, call: Callable[[], bytes], look: Callable[[bytes], None]) -> CheckResult:
    before = time.monotonic()
    try:
        answer = call()
    except ProxyError as error:
        return CheckResult(operation, ERROR, str(error), "allow it in the IAM policy; doc/iam-policy.json has all")
    took_ms = (time.monotonic() - before) * 1000
    try:
        look(answer)
    except ProxyError as error:
        return CheckResult(operation, ERROR, str(error), "look at what answers in AHI's place: a proxy, an endpoint")
    return CheckResult(operation, OK, f"allowed, {took_ms:.0f} ms")

"""The checks of an index of our own: version, how it follows AHI, the login that writes, the queue of events."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from ahi.client.identity import endpoint_url
from app.check_result import ERROR, OK, WARNING, CheckResult
from app.commands.index_result import differing
from app.commands.remote import Remote, asking, without_login
from app.processes.resources import find_index_writer, find_trust
from app.settings import Settings, SettingsError
from db import inspection
from db.engine import Database
from db.following import count_ledger, followed_sources, tables_version
from db.index_jobs import has_runs, last_runs
from db.index_kind import IndexKind, find_kind
from db.index_schema import VERSION
from index.follow.holds import FAILURES
from index.follow.queue import EventQueue
from index.run import RunKind

_COMPARISONS = frozenset(kind.value for kind in (RunKind.COMPARE, RunKind.REPAIR, RunKind.NIGHTLY))
_LATE = timedelta(minutes=10)
_NEEDED = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
_COMPARE = "run python main.py index --compare, or set INDEX_COMPARE for a follower"
_REPAIR = "run python main.py index --compare --repair"
_FOLLOW = "run python main.py index --follow; doc/deploy/index.md says how"


def check_version(database: Database) -> Iterator[CheckResult]:
    """The kind of the index, and the version of own tables."""
    if database.index_kind is IndexKind.LEGACY:
        yield CheckResult("index kind", OK, IndexKind.LEGACY.value)
        return
    version, told = tables_version(database), IndexKind.OWN.value
    if version == VERSION:
        yield CheckResult("index kind", OK, f"{told}, version {version}")
    elif version > VERSION:
        finding = f"{told}, version {version}; this release knows version {VERSION}"
        yield CheckResult("index kind", WARNING, finding, "it goes on reading; bring the service up to date")
    else:
        finding = f"{told}, version {version}; this release needs version {VERSION}"
        yield CheckResult("index kind", ERROR, finding, "run python main.py index, which migrates them")


def check_following(database: Database) -> Iterator[CheckResult]:
    """Own tables follow AHI, and no image set was put aside."""
    if database.index_kind is IndexKind.LEGACY:
        return
    sources = followed_sources(database)
    asked = max((source.asked_at for source in sources if source.asked_at), default=None)
    changed = max((source.event_at for source in sources if source.event_at), default=None)
    if asked is None:
        yield CheckResult("follower", WARNING, "no follower has ever run: the index stays as it was filled", _FOLLOW)
    else:
        told = f"a follower had an answer {_ago(asked)}; the last change was written {_ago(changed)}"
        late = _age(asked) > _LATE
        yield CheckResult("follower", WARNING if late else OK, told, _FOLLOW if late else "")
    counts = count_ledger(database, FAILURES)
    told = f"{counts.indexed} are indexed, {counts.failing} failed and are tried again, {counts.aside} were put aside"
    advice = "see the log for the reasons; then run python main.py index --compare --repair"
    yield CheckResult("indexed image sets", WARNING if counts.aside else OK, told, advice if counts.aside else "")


def check_comparisons(database: Database) -> Iterator[CheckResult]:
    """The last comparison of each data store with AHI that came to its end; no result for an index without runs."""
    if not has_runs(database):
        return
    last = last_runs(database, _COMPARISONS)
    if not last:
        yield CheckResult("comparison", WARNING, "the index was never compared with AHI", _COMPARE)
    for datastore_id, run in last.items():
        told = f"{datastore_id}: {run.result or run.error or 'it was stopped'} ({_ago(run.ended_at)})"
        is_well = not run.error and (run.kind != RunKind.COMPARE.value or run.result == differing(0))
        yield CheckResult("comparison", OK if is_well else WARNING, told, "" if is_well else _REPAIR)


def check_writer(settings: Settings) -> Iterator[CheckResult]:
    """The login that writes to the index, for the index command or a service that stores. Nothing is written."""
    if not (settings.may_write_index or settings.store):
        return
    try:
        database = Database(find_index_writer(settings), find_trust(settings), pool_size=1)
    except SettingsError as error:
        yield without_login("write login", settings.aws_default_region, error)
        return
    try:
        with asking(Remote(database.place), "SELECT"):
            yield _rights(database)
            if settings.store:
                yield _tables(database)
            if not settings.names_index:
                yield from check_version(database)
                yield from check_following(database)
                yield from check_comparisons(database)
    finally:
        database.close()


def _rights(database: Database) -> CheckResult:
    if database.kind == "sqlite":
        return CheckResult("write login", OK, "the file can be read")
    rights = {*inspection.rights_to_write(database), "SELECT"}
    missing = sorted(_NEEDED - rights) if "ALL PRIVILEGES" not in rights else []
    if missing:
        told = f"the user lacks {', '.join(missing)}"
        return CheckResult("write login", ERROR, told, "doc/deploy/index.md has the statements")
    return CheckResult("write login", OK, "the user may write to the index")


def _tables(database: Database) -> CheckResult:
    """The tables are those that a service that stores writes to."""
    match database.look(find_kind):
        case IndexKind.OWN:
            return CheckResult("tables", OK, "what is stored can be written to them")
        case None:
            return CheckResult("tables", WARNING, "there are none yet", "start the service, which makes them")
        case IndexKind.LEGACY as kind:
            finding = f"{kind.value}, to which no store request writes"
            return CheckResult("tables", ERROR, finding, "make an index of its own for STORE: doc/deploy/index.md")


def check_queue(settings: Settings) -> Iterator[CheckResult]:
    """The queue of events answers, and has no dead letters; no result without a queue."""
    if not settings.index_events_queue_url:
        return
    region = settings.aws_default_region or ""
    queue = EventQueue(settings.index_events_queue_url, region)
    try:
        with asking(Remote.from_url(endpoint_url("sqs", region)), "GetQueueAttributes"):
            depth = queue.depth()
    finally:
        queue.close()
    told = f"{depth.waiting} events wait, {depth.in_hand} are being worked at"
    yield CheckResult("queue of events", OK, told)
    if depth.dead:
        advice = "doc/deploy/index.md says what to do (IndexDeadLettersAlarm)"
        yield CheckResult("dead letters", WARNING, f"{depth.dead} events could not be taken", advice)


def _age(moment: datetime) -> timedelta:
    return datetime.now(timezone.utc) - moment.replace(tzinfo=timezone.utc)


def _ago(moment: datetime | None) -> str:
    if moment is None:
        return "never"
    seconds = max(0, int(_age(moment).total_seconds()))
    return f"{seconds} s ago" if seconds < 120 else f"{seconds // 60} minutes ago"

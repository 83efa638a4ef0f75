"""`python main.py index`: fill an index of our own from AHI, compare it, or follow AHI.

The exit status is 0 if the index has all that AHI has, 3 if something is left, 1 for errors that may pass, and 2 for
wrong settings. A run that SIGINT or SIGTERM stopped has 130 or 143.
"""

import json
import logging
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from select import select
from threading import Event
from types import FrameType

from ahi.client.calls import AhiClient
from ahi.client.rates import CallRates
from ahi.image_sets.image_set import metadata_document
from app.commands.index_follow import follow
from app.commands.index_result import as_json, differing, log_line, summary, table
from app.processes.resources import open_index_writer
from app.settings import Settings, SettingsError
from db.migrations.migrate import NewerVersion, OtherTables
from dicomweb.errors import NotFound, ProxyError
from index.ahi.listing import THREADS as LISTING_THREADS
from index.ahi.listing import ListingStopped
from index.compare import Kind
from index.estimate import Estimate, Prices
from index.fill import THREADS
from index.nightly import NightlyComparison
from index.reconcile import Reconciliation
from index.run import RecordedRun, RunKind
from index.writing.writer import IndexWriter

log = logging.getLogger(__name__)

NOT_WHOLE = 3
"""The exit status if the index and AHI differ, or an image set could not be read."""

_LOOK_SECONDS = 0.2
_PATIENCE_SECONDS = 60.0
_LOCKED_SECONDS = 3.0
_CONNECTIONS = THREADS + LISTING_THREADS

_PRICE_OPTIONS = {
    "frequent_gb_month": "USD for a GB and month in the frequent tier",
    "archive_gb_month": "USD for a GB and month in the archive tier",
    "thousand_calls": "USD for 1,000 calls",
    "instance_mb": "MB of an instance in AHI",
}


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to do, and the assumptions of the estimate."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--compare", action="store_true", help="tell what differs between the index and AHI")
    what.add_argument("--follow", action="store_true", help="keep the index up to date until SIGTERM")
    parser.add_argument("--repair", action="store_true", help="with --compare: make the index agree with AHI")
    parser.add_argument("--json", action="store_true", help="with --compare: print the result as JSON")
    parser.add_argument("--yes", action="store_true", help="begin a first fill without asking")
    assumed = parser.add_argument_group("assumptions of the estimate before a first fill")
    for price in fields(Prices):
        assumed.add_argument(
            f"--{price.name.replace('_', '-')}",
            type=float,
            default=price.default,
            metavar="N",
            help=f"{_PRICE_OPTIONS[price.name]}: %(default)s",
        )


def run(settings: Settings, options: Namespace) -> int:
    """Fill, compare or follow; the exit status is that of the docstring of this module."""
    if (options.repair or options.json) and not options.compare:
        raise SettingsError("--repair and --json go with --compare")
    writer = open_index_writer(settings, pool_size=THREADS + 1)  # one notes how far the run is
    client = _client(settings)
    try:
        with _interrupts_kept():
            writer.create_or_migrate()
        if options.follow:
            nightly = _nightly(settings, client, writer)
            follow(settings, client, writer, _parse(settings), nightly or (lambda: None))
            return 0
        return _run_once(settings, options, client, writer)
    except (OtherTables, NewerVersion) as error:
        raise SettingsError(f"the index cannot be written: {error}") from error
    except ProxyError as error:
        print(f"{error}: run the command again, it goes on where it was", file=sys.stderr)
        return 1
    finally:
        client.close()
        writer.close()


def _run_once(settings: Settings, options: Namespace, client: AhiClient, writer: IndexWriter) -> int:
    stop = Event()
    with _stopped_by_signals(stop) as signals:
        datastore_ids = settings.ahi_datastore_ids or tuple(client.listing.datastores())
        if not datastore_ids:
            raise SettingsError("the role may list no data store: set AHI_DATASTORE_IDS")
        with RecordedRun(writer.session, _kind(options), datastore_ids, stop) as run:
            try:
                with Reconciliation(
                    client, writer, _parse(settings), datastore_ids, stop, run.new_progress
                ) as reconciliation:
                    failed = _list(reconciliation)
                    step = _compare if options.compare else _fill
                    status = step(reconciliation, settings, options, run)
                    if failed:
                        status = status or NOT_WHOLE
                        run.result += f" ({len(failed)} data stores could not be listed)"
            except ListingStopped:
                status = NOT_WHOLE
    if run.is_cancelled:
        return NOT_WHOLE
    return 128 + signals[0] if signals else status


def _kind(options: Namespace) -> RunKind:
    if options.compare:
        return RunKind.REPAIR if options.repair else RunKind.COMPARE
    return RunKind.FILL


def _list(reconciliation: Reconciliation) -> Mapping[str, ProxyError]:
    """List what can be listed, and tell which data stores cannot be; these, each with the reason."""
    try:
        failed = reconciliation.list_all()
    except NotFound as error:
        raise SettingsError("AHI does not have a data store of AHI_DATASTORE_IDS") from error
    for datastore_id, reason in failed.items():
        print(f"data store {datastore_id} cannot be listed and is left out: {reason}", file=sys.stderr)
    return failed


def _fill(reconciliation: Reconciliation, settings: Settings, options: Namespace, run: RecordedRun) -> int:
    """Read what the index lacks, after asking before a first fill."""
    prices = Prices(**{price.name: getattr(options, price.name) for price in fields(Prices)})
    stop = reconciliation.stop
    estimate, gone, aside = Estimate(prices, settings.index_metadata_rate), 0, 0
    for difference in reconciliation.unless_stopped():
        gone += difference.kind is Kind.GONE
        aside += difference.is_aside
        if difference.listed and not difference.is_aside:
            estimate.add(difference.listed)
    if estimate.image_sets and reconciliation.is_first() and not _may_begin(estimate, stop, yes=options.yes):
        return 1
    applied = reconciliation.apply([Kind.MISSING, Kind.BEHIND, Kind.RETURNED], estimate.image_sets)
    run.result = summary(applied)
    _say(run.result)
    if aside:
        _say(f"{aside:,} image sets were put aside before: --compare --repair tries them again")
    if gone:
        _say(f"{gone:,} image sets of the index were not listed: --compare --repair removes what AHI no longer has")
    return NOT_WHOLE if applied.left or aside else 0


def _may_begin(estimate: Estimate, stop: Event, *, yes: bool) -> bool:
    """Print the estimate, and ask on a terminal. A signal is an answer as well."""
    _say(*estimate.lines())
    if yes or sys.stdin is None or not sys.stdin.isatty():
        return True
    print("Begin? [y/N] ", end="", file=sys.stderr, flush=True)
    while not stop.is_set():
        if select([sys.stdin], [], [], _LOOK_SECONDS)[0]:
            return sys.stdin.readline().strip().lower() in ("y", "yes")
    return False


def _compare(reconciliation: Reconciliation, _settings: Settings, options: Namespace, run: RecordedRun) -> int:
    """Tell what differs, and repair it if that is asked for."""
    found = reconciliation.compare()
    total = sum(comparison.total for comparison in found)
    applied = reconciliation.apply(Kind, total, with_aside=True) if options.repair and total else None
    run.result = summary(applied) if applied else differing(total)
    if options.json:
        print(json.dumps(as_json(found, applied), indent=2))
    else:
        print("\n".join(table(found)))
        if applied:
            print(summary(applied))
    left = applied.left if applied else total
    return NOT_WHOLE if left else 0


def _client(settings: Settings) -> AhiClient:
    rates = CallRates(
        {"SearchImageSets": settings.index_search_rate, "GetImageSetMetadata": settings.index_metadata_rate}
    )
    return AhiClient(
        region=settings.aws_default_region or "",
        max_connections=_CONNECTIONS,
        deadline_seconds=max(_PATIENCE_SECONDS, settings.ahi_deadline_seconds),
        rates=rates,
        conflict_seconds=_LOCKED_SECONDS,
    )


def _parse(settings: Settings) -> "partial[object]":
    return partial(metadata_document, max_bytes=settings.metadata_max_bytes)


def _nightly(settings: Settings, client: AhiClient, writer: IndexWriter) -> "partial[None] | None":
    """The function that a follower calls every few seconds; None without INDEX_COMPARE."""
    if settings.index_compare is None:
        return None

    compare = partial(compare_and_repair_all, settings, client, writer)
    return partial(NightlyComparison(settings.index_compare, compare).run_compare_when_due)


def compare_and_repair_all(settings: Settings, client: AhiClient, writer: IndexWriter) -> None:
    """Compare and repair each data store. One that cannot be read is logged, and holds up no other."""
    for datastore_id in settings.ahi_datastore_ids or tuple(client.listing.datastores()):
        try:
            stop = Event()
            with RecordedRun(writer.session, RunKind.NIGHTLY, [datastore_id], stop) as run:
                _compare_and_repair(
                    Reconciliation(client, writer, _parse(settings), [datastore_id], stop, run.new_progress), run
                )
        except ListingStopped:  # noqa: PERF203 - calls over the network
            log.warning("data store not compared to the end: an operator has cancelled it datastore=%s", datastore_id)
        except ProxyError as error:
            log.error("data store not compared datastore=%s reason=%s", datastore_id, error)  # noqa: TRY400


def _compare_and_repair(compared: Reconciliation, run: RecordedRun) -> None:
    with compared as reconciliation:
        reconciliation.list_all()
        found = reconciliation.compare()
        for told in map(log_line, found):
            log.info("compared %s", told)
        total = sum(comparison.total for comparison in found)
        run.result = differing(total)
        if total:
            run.result = summary(reconciliation.apply(Kind, total, with_aside=True))
            log.warning("repaired: %s", run.result)


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """A context that ends with KeyboardInterrupt if SIGINT came, also where a library has lost that exception."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    except ProxyError as error:
        if came:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


@contextmanager
def _stopped_by_signals(stop: Event) -> Iterator[list[int]]:
    """A context in which SIGINT and SIGTERM set `stop`; the signals that came. The second one ends the process."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(*lines: str) -> None:
    """Tell the operator: on standard error of a terminal, in the log otherwise."""
    for line in lines:
        if sys.stderr.isatty():
            print(line, file=sys.stderr)
        else:
            log.info("%s", line)

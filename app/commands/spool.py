"""`python main.py spool`: show what the spool holds; try again, or remove, what AHI has refused.

What waits in the queue belongs to the service. It can be removed only while no service uses the spool.
"""

import json
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from app.commands.embedded import open_embedded, with_defaults
from app.processes.resources import open_spools
from app.settings import NotNowError, Settings, SettingsError
from dicomweb.errors import NotFound
from store.spool.layout import SpoolInUse, SpoolLock
from store.spool.spool import Entry, Spool

_ACTIONS = ("list", "retry", "remove")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the action, the entries and `--json`."""
    parser.add_argument("action", choices=_ACTIONS, nargs="?", default="list", help="what to do (default: list)")
    parser.add_argument("entry", nargs="*", help="names of entries, as `list` prints them")
    parser.add_argument("--all", action="store_true", help="retry or remove all refused entries")
    parser.add_argument("--json", action="store_true", help="print the entries as JSON")


def run(settings: Settings, options: Namespace) -> int:
    """List, retry or remove; the exit status of `list` is 3 if something was refused or cannot be read."""
    if not settings.names_index:
        settings = with_defaults(open_embedded(settings))
    spools = _open(settings)
    if options.action == "list":
        entries = [entry for spool in spools for entry in describe_entries(spool)]
        print("\n".join([json.dumps(entries, indent=2)] if options.json else _table(entries)))
        return 3 if any(entry["state"] != "waiting" for entry in entries) else 0
    names = [entry.name for spool in spools for entry in spool.refused()] if options.all else options.entry
    if not names:
        raise SettingsError(f"{options.action} needs the names of entries, or --all for all refused ones")
    for name in names:
        spool = next((one for one in spools if one.has(name)), spools[0])
        (_retry if options.action == "retry" else _remove)(spool, name)
        print(f"{name}  {'tried again' if options.action == 'retry' else 'removed'}")
    return 0


def _open(settings: Settings) -> list[Spool]:
    try:
        spools = open_spools(settings)
    except OSError:
        spools = []
    if not spools or not all(spool.layout.queue.is_dir() for spool in spools):
        raise SettingsError(f"SPOOL_ROOT {settings.spool_root} is not a spool: the service makes it if STORE is true")
    return spools


def describe_entries(spool: Spool) -> list[dict[str, Any]]:
    """All entries, oldest first, as members of the list that `--json` prints."""
    waiting = [_described(entry, "waiting") for entry in spool.entries()]
    refused = [
        _described(entry, "refused") | {"outcomes": [asdict(outcome) for outcome in spool.outcomes(entry)]}
        for entry in spool.refused()
    ]
    unknown = [{"entry": path.name, "state": "unknown"} for path in spool.unknown()]
    return [*waiting, *refused, *unknown]


def _described(entry: Entry, state: str) -> dict[str, Any]:
    manifest = entry.manifest
    return {
        "entry": entry.name,
        "state": state,
        "received": datetime.fromtimestamp(manifest.received_at).isoformat(" ", "seconds"),
        "age_seconds": round(max(0.0, time.time() - manifest.received_at)),
        "instances": len(manifest.instances),
        "bytes": entry.size_bytes,
        "series": sorted({instance.series_instance_uid for instance in manifest.instances}),
        **asdict(manifest.sender),
    }


def _table(entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    if not entries:
        yield "the spool is empty"
        return
    yield f"{'entry':<32}{'state':<10}{'received':<21}{'instances':>9}{'bytes':>14}  reason"
    for entry in entries:
        reasons = {outcome["detail"] for outcome in entry.get("outcomes", ()) if outcome["detail"]}
        reason = "cannot be read; it is left alone" if entry["state"] == "unknown" else "; ".join(sorted(reasons))
        yield (
            f"{entry['entry']:<32}{entry['state']:<10}{entry.get('received', ''):<21}"
            f"{entry.get('instances', ''):>9}{entry.get('bytes', ''):>14}  {reason}".rstrip()
        )


def _retry(spool: Spool, name: str) -> None:
    """Put a refused entry back into the queue. A service that runs finds it within some seconds."""
    try:
        spool.retry(spool.refused_entry(name))
    except NotFound:
        raise SettingsError(f"{name} is not the name of a refused entry") from None


def _remove(spool: Spool, name: str) -> None:
    """Delete a refused entry, or one that waits if no service runs."""
    try:
        entry = spool.refused_entry(name)
    except NotFound:
        _remove_waiting(spool, name)
    else:
        spool.remove(entry)


def _remove_waiting(spool: Spool, name: str) -> None:
    try:
        entry = spool.entry(name)
    except NotFound:
        raise SettingsError(f"{name} is not the name of an entry") from None
    try:
        lock = SpoolLock(spool.layout, wait_seconds=0)
    except SpoolInUse:
        raise NotNowError(f"{name} waits to be stored, and the service runs: stop it to remove what waits") from None
    spool.remove(entry)
    lock.close()

"""`python main.py`: serve DICOMweb. This process becomes the supervisor of all others."""

import logging
import os
import socket
import sys
from argparse import Namespace
from dataclasses import replace

from app.commands.check import check_all
from app.commands.describe_error import describe_error
from app.commands.embedded import open_embedded, with_defaults
from app.health import SAMPLE_DATA
from app.processes import service
from app.processes.reload import Reload
from app.processes.resources import bind, find_index, lock_spool
from app.processes.sd_notify import READY, STOPPING, feed_watchdog, notify
from app.processes.self_check import SelfCheck
from app.processes.supervisor import Child, Supervisor
from app.settings import Settings, SettingsError
from app.telemetry.history import Sampler
from datastore.embedded import Embedded
from runtime.memory import share_free_memory

log = logging.getLogger(__name__)

WELCOME = """
{browser}  DICOMweb   http://{host}:{port}/aetitle
  try        curl http://{host}:{port}/aetitle/studies
  Weasis     Preferences > DICOM nodes > DICOMweb: the URL above
  OHIF       qidoRoot and wadoRoot: the URL above (doc/viewers.md has the whole configuration)
"""

BROWSER = "  browser    http://{host}:{port}/\n"


def run(settings: Settings, _: Namespace) -> int:
    """Serve until SIGTERM or SIGINT. SIGHUP reads the settings again."""
    share_free_memory()
    check_index_is_meant(settings)
    supervisor = Supervisor()
    if not settings.names_index:
        settings = _start_embedded(settings, supervisor)
    listening = bind(settings)
    index = find_index(settings)
    shared = service.start(supervisor, settings, index, listening)
    notify(READY)
    try:
        in_terminal = sys.stdin.isatty()  # SIGHUP then means that the terminal is closed
        reload = None if in_terminal else Reload(supervisor, settings, index, shared)
        sampler = Sampler(shared.counters, shared.requests, shared.status.history)
        check = SelfCheck(supervisor, shared.status.check, lambda: check_all(reload.settings if reload else settings))

        def on_round() -> None:
            feed_watchdog()
            if (reload.settings if reload else settings).console:
                sampler.sample_when_due()
                check.look()

        supervisor.run(on_stop=lambda: notify(STOPPING), on_hangup=reload, on_round=on_round)
        service.stopped(reload.settings if reload else settings)
    finally:
        shared.sockets.remove()
    return 0


def check_index_is_meant(settings: Settings) -> None:
    """SettingsError if EMBEDDED contradicts the settings of the index, or if none of them is set.

    Only a service on a loopback address starts the embedded data store without EMBEDDED. A service that others reach
    would look healthy, and serve sample data.
    """
    if settings.names_index:
        if settings.embedded:
            raise SettingsError("EMBEDDED=true serves sample data, but DB_SECRET_ARN or DATABASE_URL is set as well")
        return
    environ = {name: value for name, value in os.environ.items() if value.strip()}
    on_loopback = Settings.from_env({"HOST": "127.0.0.1", **environ}).on_loopback
    if not (on_loopback if settings.embedded is None else settings.embedded):
        raise SettingsError(
            "neither DB_SECRET_ARN nor DATABASE_URL says where the index is; EMBEDDED=true serves sample data, not AHI"
        )


def _start_embedded(settings: Settings, supervisor: Supervisor) -> Settings:
    """Start the embedded data store in a process of its own; the settings of a proxy in front of it."""
    embedded = open_embedded(settings)
    bind(with_defaults(embedded)).close()  # report a taken port before the import, not after it
    if reason := _fill(embedded, supervisor):
        raise SettingsError(f"DATASTORE_ROOT {settings.datastore_root}: {reason}")
    listening = socket.create_server(("127.0.0.1", 0))
    supervisor.start(Child("datastore", lambda _: embedded.serve(listening, settings.datastore_faults)))
    os.environ.update(embedded.environment(listening.getsockname()[1]), EMBEDDED="true")
    if embedded.can_store and not os.environ.get("STORE", "").strip():
        os.environ["STORE"] = "true" if _may_store() else "false"
    log.warning("this service serves %s", SAMPLE_DATA)
    place = {"host": os.environ["HOST"], "port": settings.port}
    print(WELCOME.format(browser=BROWSER.format(**place) if settings.console else "", **place), flush=True)
    return Settings.from_env(os.environ)


def _may_store() -> bool:
    """Whether a service with the embedded data store stores without being told: nobody else reaches it or its spool."""
    settings = Settings.from_env(os.environ)
    if not settings.serves_this_machine_alone:
        return False
    try:
        lock = lock_spool(replace(settings, store=True), wait_seconds=0)
    except SettingsError as error:
        log.warning("this service only reads: %s", error)
        return False
    if lock:
        lock.close()
    return True


def _fill(embedded: Embedded, supervisor: Supervisor) -> str:
    """Import samples into an empty data store, or complete its index, in a process of its own; the error, or ""."""
    reading, writing = os.pipe()

    def fill() -> None:
        try:
            embedded.catch_up()  # a folder that is something else is told before samples are made
            if embedded.wants_samples:
                embedded.fill_with_samples()
        except Exception as error:  # noqa: BLE001 - the folder may hold anything
            os.write(writing, describe_error(getattr(error, "orig", None) or error).encode())
            raise SystemExit(1) from error

    succeeded = supervisor.complete(fill)
    os.close(writing)
    reason = os.read(reading, 1000).decode()
    os.close(reading)
    if succeeded:
        return ""
    return f"the data store cannot be used, {reason or 'and the process that filled it was ended'}"

"""The AHI DICOMweb proxy.

python main.py                  serve; DB_SECRET_ARN or DATABASE_URL names the index, EMBEDDED=true takes sample data
python main.py import PATH...   import DICOM files into the embedded data store; --details; 3 if something was lost
python main.py probe            ask the running service of these settings whether it lives
python main.py check            look at settings, database, AHI, cache, audit and clock, and say what to do; --json
python main.py token NAME       make a static token
python main.py link STUDY       make a URL that shows one study for some hours
python main.py cache            show what the cache holds; --empty empties it, while the service runs or not
"""

import argparse
import logging
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from app.commands.cache import describe_cache
from app.commands.check import check_all, describe, failed
from app.commands.credentials import make_link, make_token
from app.commands.probe import probe
from app.health import SAMPLE_DATA
from app.processes import service
from app.processes.reload import Reload
from app.processes.sd_notify import READY, STOPPING, feed_watchdog, notify
from app.processes.supervisor import Child, Supervisor
from app.settings import NotNowError, Settings, SettingsError
from app.telemetry.logs import start_logging
from datastore.embedded import Embedded
from datastore.serving.faults import parse_faults
from runtime.memory import share_free_memory

log = logging.getLogger(__name__)

NOT_WHOLE = 3
"""The exit status of an import that refused files, or lost something of them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status of the process."""
    parser = argparse.ArgumentParser(description="DICOMweb in front of AWS HealthImaging")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="serve DICOMweb (the default)")
    importing = commands.add_parser("import", help="import DICOM files into the embedded data store")
    importing.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    importing.add_argument("--details", action="store_true", help="name each file that lost or changed something")
    cache = commands.add_parser("cache", help="show what the cache holds")
    cache.add_argument("--empty", action="store_true", help="delete what it holds")
    alone = commands.add_parser("datastore", help="serve the embedded data store alone, on loopback")
    alone.add_argument("--port", type=port, default=9000)
    commands.add_parser("probe", help="ask the running service of these settings whether it lives")
    checking = commands.add_parser("check", help="look at settings, database, AHI, cache, audit and clock")
    checking.add_argument("--json", action="store_true", help="print what was found as JSON")
    token = commands.add_parser("token", help="make a static token")
    token.add_argument("name")
    token.add_argument("--groups", default="", help="separated by commas")
    link = commands.add_parser("link", help="make a URL that shows one study to whoever has it")
    link.add_argument("study", help="Study Instance UID")
    link.add_argument("--hours", type=float, default=24)
    options = parser.parse_args(arguments)
    try:
        settings = Settings.from_env(os.environ)
        start_logging(settings.log_level, settings.log_format)
        if options.command == "import":
            return import_files(settings, options.paths, with_details=options.details)
        if options.command == "cache":
            return show_cache(settings, empty=options.empty)
        if options.command == "datastore":
            return serve_datastore(settings, options.port)
        if options.command == "probe":
            return say(probe(settings.host, settings.port))
        if options.command == "check":
            return check(settings, as_json=options.json)
        if options.command == "token":
            return show(make_token(options.name, options.groups))
        if options.command == "link":
            return show(make_link(settings, options.study, options.hours))
        return serve(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1 if isinstance(error, NotNowError) else 2
    except Exception as error:
        if os.environ.get("LOG_LEVEL", "").upper() == "DEBUG":
            raise
        print(f"{in_one_line(error)} (LOG_LEVEL=DEBUG shows where)", file=sys.stderr)
        return 1


def in_one_line(error: Exception) -> str:
    """What nobody has foreseen, without its text, which may hold a secret: only the system's words are repeated."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return type(error).__name__


def port(text: str) -> int:
    """The number of a port, for argparse."""
    if not (text.isdecimal() and len(text) < 6 and 0 < int(text) < 65_536):
        raise argparse.ArgumentTypeError("is not the number of a port")
    return int(text)


def say(problem: str | None) -> int:
    """Print a problem, if there is one; the exit status."""
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


def show(lines: Iterable[str]) -> int:
    """Print the lines; the exit status."""
    for line in lines:
        print(line)
    return 0


def import_files(settings: Settings, paths: Sequence[Path], *, with_details: bool) -> int:
    """Import into the embedded data store; 3 if files were refused, or something of them was lost."""
    if settings.names_index:
        raise SettingsError("import fills the embedded data store, but a database is set")
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise SettingsError(f"no such file or folder: {', '.join(missing)}")
    return 0 if _embedded(settings).fill(paths, with_details=with_details) else NOT_WHOLE


def show_cache(settings: Settings, *, empty: bool) -> int:
    """Print what the cache holds, after emptying it if so asked."""
    if not settings.names_index:
        settings = _with_defaults(_embedded(settings))
    cache = service.open_cache(settings)
    if empty:
        cache.empty()
    print("\n".join(describe_cache(cache, settings)))
    return 0


def check(settings: Settings, *, as_json: bool) -> int:
    """Print what is well and what is not; 1 if something keeps the service from its work."""
    if not settings.names_index:
        raise SettingsError(
            "check looks at a database and AHI, but none is set: the embedded data store needs no check"
        )
    findings = check_all(settings)
    show(describe(findings, as_json=as_json))
    return int(failed(findings))


def serve_datastore(settings: Settings, port: int) -> int:
    """Serve the AHI protocol until SIGTERM."""
    listening = socket.create_server(("127.0.0.1", port))
    print(f"AWS_ENDPOINT_URL_MEDICAL_IMAGING=http://127.0.0.1:{port}", flush=True)
    _embedded(settings).serve(listening, settings.datastore_faults)
    return 0


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; SIGHUP has settings read again."""
    share_free_memory()
    check_index_is_meant(settings)
    supervisor = Supervisor()
    if not settings.names_index:
        settings = start_embedded(settings, supervisor)
    listening = service.bind(settings)
    index = service.find_index(settings)
    shared = service.start(supervisor, settings, index, listening)
    notify(READY)
    try:
        hangs_up = sys.stdin.isatty()  # a terminal does when it closes
        reload = None if hangs_up else Reload(supervisor, settings, index, shared)
        supervisor.run(on_stop=lambda: notify(STOPPING), on_hangup=reload, on_round=feed_watchdog)
        service.stopped(reload.settings if reload else settings)
    finally:
        shared.sockets.remove()
    return 0


def check_index_is_meant(settings: Settings) -> None:
    """SettingsError where EMBEDDED and the settings of the index contradict each other, or all were forgotten.

    Without them, only a service on a loopback address starts the embedded data store: sample data would look healthy.
    """
    if settings.names_index:
        if settings.embedded:
            raise SettingsError("EMBEDDED=true serves sample data, but DB_SECRET_ARN or DATABASE_URL is set as well")
        return
    given = {name: value for name, value in os.environ.items() if value.strip()}
    on_loopback = Settings.from_env({"HOST": "127.0.0.1", **given}).on_loopback
    if not (on_loopback if settings.embedded is None else settings.embedded):
        raise SettingsError(
            "neither DB_SECRET_ARN nor DATABASE_URL says where the index is; EMBEDDED=true serves sample data, not AHI"
        )


def start_embedded(settings: Settings, supervisor: Supervisor) -> Settings:
    """Start the embedded data store, filled with samples the first time; the settings of a proxy in front of it."""
    embedded = _embedded(settings)
    service.bind(_with_defaults(embedded)).close()  # a taken port is told before the import, not after
    if reason := _fill(embedded, supervisor):
        raise SettingsError(f"DATASTORE_ROOT {settings.datastore_root}: {reason}")
    listening = socket.create_server(("127.0.0.1", 0))
    supervisor.start(Child("datastore", lambda _: embedded.serve(listening, settings.datastore_faults)))
    os.environ.update(embedded.environment(listening.getsockname()[1]), EMBEDDED="true")
    log.warning("this service serves %s", SAMPLE_DATA)
    print(WELCOME.format(host=os.environ["HOST"], port=settings.port), flush=True)
    return Settings.from_env(os.environ)


def _fill(embedded: Embedded, supervisor: Supervisor) -> str:
    """Have a process fill the embedded data store as far as it is not; why it could not, else ""."""
    told, telling = os.pipe()

    def fill() -> None:
        try:
            if embedded.is_empty():
                embedded.fill_with_samples()
            else:
                embedded.catch_up()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with what lies there
            os.write(telling, in_one_line(getattr(error, "orig", None) or error).encode())
            raise SystemExit(1) from error

    filled = supervisor.complete(fill)
    os.close(telling)
    reason = os.read(told, 1000).decode()
    os.close(told)
    return "" if filled else f"what lies there cannot be used, {reason or 'and the process that filled it was ended'}"


def _with_defaults(embedded: Embedded) -> Settings:
    """The settings, with those of the embedded default where the environment says nothing."""
    for name, value in embedded.defaults().items():
        if not os.environ.get(name, "").strip():
            os.environ[name] = value
    return Settings.from_env(os.environ)


WELCOME = """
  DICOMweb   http://{host}:{port}/aetitle
  try        curl http://{host}:{port}/aetitle/studies
  Weasis     Preferences > DICOM nodes > DICOMweb: the URL above
  OHIF       qidoRoot and wadoRoot: the URL above (README.md has the whole configuration)
"""


def _embedded(settings: Settings) -> Embedded:
    """The embedded data store; SettingsError where its folder cannot be made or its faults are none."""
    try:
        parse_faults(settings.datastore_faults or "")
    except ValueError as error:
        raise SettingsError(f"DATASTORE_FAULTS is {error}") from error
    try:
        return Embedded(
            settings.datastore_root,
            clean_index=settings.datastore_clean_index,
            populate_instances=settings.datastore_populate_instances,
            frame_bytes=settings.frame_max_bytes,
        )
    except OSError as error:
        raise SettingsError(f"DATASTORE_ROOT {settings.datastore_root}: {error.strerror}") from error


def end(status: int) -> NoReturn:
    """End the process at once: Python would take apart all that is loaded, which takes seconds on a busy machine."""
    logging.shutdown()
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    end(main())

"""The command line: which command runs, and how errors are reported."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from signal import SIGINT
from typing import NoReturn

from app.commands import cache, check, import_files, index, link, probe, serve, serve_datastore, spool, token
from app.commands.describe_error import describe_error
from app.settings import NotNowError, Settings, SettingsError
from app.telemetry.logs import start_logging
from app.version import VERSION

DEFAULT = "serve"
_SETTINGS = "Settings are environment variables: doc/settings.md explains them. COMMAND --help explains a command."


@dataclass(frozen=True)
class Command:
    """One command. `run` returns the exit status of the process."""

    name: str
    help: str
    run: Callable[[Settings, argparse.Namespace], int]
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda _: None


COMMANDS = (
    Command(DEFAULT, "serve DICOMweb (the default)", serve.run),
    Command("import", "import DICOM files into the embedded data store", import_files.run, import_files.add_arguments),
    Command("index", "fill the index from AHI, compare it, or follow AHI", index.run, index.add_arguments),
    Command("cache", "show what the cache holds", cache.run, cache.add_arguments),
    Command("spool", "show, retry or remove what is not stored yet", spool.run, spool.add_arguments),
    Command(
        "datastore",
        "serve the embedded data store alone, on loopback",
        serve_datastore.run,
        serve_datastore.add_arguments,
    ),
    Command("probe", "ask the running service of these settings whether it lives", probe.run),
    Command("check", "look at settings, database, AHI, cache, audit and clock", check.run, check.add_arguments),
    Command("token", "make a static token", token.run, token.add_arguments),
    Command("link", "make a URL that shows one study to whoever has it", link.run, link.add_arguments),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 2 for wrong settings, 1 for errors that may pass, 130 after Ctrl+C.

    Errors are one line on standard error. LOG_LEVEL=DEBUG raises unexpected ones instead.
    """
    options = _parser().parse_args(arguments)
    command = next(command for command in COMMANDS if command.name == (options.command or DEFAULT))
    try:
        settings = Settings.from_env(os.environ)
        start_logging(settings.log_level, settings.log_format)
        return command.run(settings, options)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1 if isinstance(error, NotNowError) else 2
    except KeyboardInterrupt:
        return 128 + SIGINT
    except Exception as error:
        if os.environ.get("LOG_LEVEL", "").strip().upper() == "DEBUG":
            raise
        print(f"{describe_error(error)} (LOG_LEVEL=DEBUG shows where)", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="DICOMweb in front of AWS HealthImaging", epilog=_SETTINGS)
    parser.add_argument("--version", action="version", version=f"ahi-dicomweb-proxy {VERSION}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS:
        described = command.help[0].upper() + command.help[1:]
        command.add_arguments(subparsers.add_parser(command.name, help=command.help, description=f"{described}."))
    return parser


def end(status: int) -> NoReturn:
    """End the process at once. Python would first free all modules, which takes seconds on a busy machine."""
    logging.shutdown()
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def console() -> NoReturn:
    """Run one command, as the program of the installed package."""
    end(main())

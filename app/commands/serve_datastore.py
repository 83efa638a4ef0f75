"""`python main.py datastore`: serve the protocol of AHI from the embedded data store, for development."""

import argparse
import socket

from app.commands.embedded import open_embedded
from app.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--port`."""
    parser.add_argument("--port", type=parse_port, default=9000, help="port to listen on (default: 9000)")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Serve on loopback until SIGTERM."""
    listening = socket.create_server(("127.0.0.1", options.port))
    print(f"AWS_ENDPOINT_URL_MEDICAL_IMAGING=http://127.0.0.1:{options.port}", flush=True)
    open_embedded(settings).serve(listening, settings.datastore_faults)
    return 0


def parse_port(text: str) -> int:
    """Parse a port, 1 to 65535, for argparse."""
    if not (text.isdecimal() and len(text) < 6 and 0 < int(text) < 65_536):
        raise argparse.ArgumentTypeError("is not the number of a port")
    return int(text)

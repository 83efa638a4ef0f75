"""What the service tells who started it: sd_notify(3), a datagram on the socket that NOTIFY_SOCKET names."""

import os
import socket
from contextlib import suppress

READY = "READY=1"
RELOADING = "RELOADING=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


def notify(state: str) -> None:
    """Tell systemd; nothing where nobody asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # Linux' abstract namespace
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
        end.sendto(state.encode(), address)


def feed_watchdog() -> None:
    """Tell systemd that all is looked after, where the unit has WatchdogSec."""
    if "WATCHDOG_USEC" in os.environ and os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
        with suppress(OSError):  # it is told again soon
            notify(WATCHDOG)

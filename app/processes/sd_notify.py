"""Notifications for systemd, as sd_notify(3) has them: datagrams to the socket that NOTIFY_SOCKET names."""

import logging
import os
import socket

log = logging.getLogger(__name__)

READY = "READY=1"
RELOADING = "RELOADING=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"

_PATIENCE_SECONDS = 1.0


def notify(state: str) -> None:
    """Send a state to systemd, unless NOTIFY_SOCKET is not set, or nobody takes it within a second."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # Linux' abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
            end.settimeout(_PATIENCE_SECONDS)
            end.sendto(state.encode(), address)
    except OSError as error:  # the supervisor goes on without
        log.warning("systemd cannot be told state=%s reason=%s", state, error.strerror or error)


def feed_watchdog() -> None:
    """Send a sign of life to systemd, if the unit has WatchdogSec."""
    if "WATCHDOG_USEC" in os.environ and os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
        notify(WATCHDOG)

"""Names of hosts, and those that mean this machine."""

import re
from ipaddress import ip_address

_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}|\[?[0-9a-fA-F:.]{2,45}\]?")


def is_host(text: str) -> bool:
    """Whether a text may be the name of a host, or an IP address."""
    return _HOST.fullmatch(text) is not None


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine for certain. The path of a socket and no host are this machine, too."""
    if not host or host == "localhost" or host.startswith("/"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

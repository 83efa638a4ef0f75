"""Names of hosts that mean this machine."""

from ipaddress import ip_address


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine for certain. The path of a socket and no host are this machine, too."""
    if not host or host == "localhost" or host.startswith("/"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

"""Which names of hosts mean this machine."""

from ipaddress import ip_address


def is_loopback(host: str | None) -> bool:
    """Whether only this machine can be meant; a socket's path or no host is this machine, too."""
    if not host or host == "localhost" or host.startswith("/"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False

"""IP networks as settings name them. Runs in every process."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

_EVERY = ("0.0.0.0/0", "::/0")
_ADDRESS = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?\Z|([0-9.]+)(?::[0-9]+)?\Z|([0-9A-Fa-f:.]+)\Z")


def parse_networks(text: str) -> tuple[Network, ...]:
    """Parse addresses and networks separated by commas; `*` stands for all of them. ValueError for anything else."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    texts = [text for word in words for text in (_EVERY if word == "*" else (word,))]
    try:
        return tuple(ip_network(text, strict=False) for text in texts)
    except ValueError:
        raise ValueError("is not a list of IP addresses and networks like 10.0.0.0/8, or *") from None


def is_in_networks(text: str, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks."""
    address = parse_address(text)
    return address is not None and any(address in network for network in networks)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address, with or without a port.

    None for other texts, such as `unknown` and `_hidden` (RFC 7239 Section 6).
    """
    match = _ADDRESS.match(text)
    try:
        address = ip_address(next(filter(None, match.groups()))) if match else None
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address

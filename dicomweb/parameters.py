"""Query parameters as clients send them (PS3.18 Section 8.3.4)."""

from urllib.parse import parse_qsl


def parse_parameters(query_string: bytes) -> list[tuple[str, str]]:
    """Parse names and values in their order, percent-decoded as UTF-8. Bytes that are not UTF-8 become U+FFFD."""
    return parse_qsl(query_string.decode(errors="replace"), keep_blank_values=True, errors="replace")

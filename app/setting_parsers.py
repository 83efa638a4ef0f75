"""The parsers of settings: each takes the text of a variable, and raises ValueError if the text is wrong.

The error continues a sentence that begins with the name of the variable: "is not a whole number".
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time
from pathlib import Path
from urllib.parse import urlsplit

from db import tls
from runtime.hosts import is_host

MOST_CHARACTERS = 4096
"""Of a text or a path. Longer ones are something else, such as the content of the file that is meant."""


def parse_text(text: str) -> str:
    """Check a text of one line. ValueError for control characters and bytes that are not UTF-8, and if it is long."""
    if not text.isprintable():
        raise ValueError("has a character that cannot be printed")
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"has more than {MOST_CHARACTERS} characters")
    return text


def parse_path(text: str) -> Path:
    """Parse the path of a file or folder."""
    return Path(parse_text(text))


_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def _decimal(text: str) -> float:
    """A number in digits of ASCII, without the underscores that Python takes; NaN for anything else."""
    return float(text) if _DECIMAL.fullmatch(text) else float("nan")


@dataclass(frozen=True)
class WholeNumber:
    """Parses whole numbers from `lowest` to `highest`."""

    lowest: int
    highest: int

    def __call__(self, text: str) -> int:
        """Parse a number; ValueError says what is wrong."""
        if not re.fullmatch(r"[+-]?[0-9]{1,30}", text):  # Python takes other digits and underscores as well
            raise ValueError("is not a whole number")
        number = int(text)
        if not self.lowest <= number <= self.highest:
            raise ValueError(f"is not between {self.lowest} and {self.highest}")
        return number


def parse_memory(text: str) -> int:
    """Parse bytes of memory: 0 for no bound, or 2**27 to 2**50."""
    number = WholeNumber(0, 2**50)(text)
    if 0 < number < 2**27:
        raise ValueError(f"is neither 0, for no bound, nor {2**27} or more: a process needs as much")
    return number


def parse_seconds(text: str) -> float:
    """Parse a time: more than 0, up to 86400 seconds."""
    number = _decimal(text)
    if math.isnan(number):
        raise ValueError("is not a number of seconds")
    if not 0 < number <= 86_400:
        raise ValueError("is not between 0 and 86400 seconds")
    return number


def parse_rate(text: str) -> float:
    """Parse requests a second: 0.001 to 1000000."""
    rate = _decimal(text)
    if math.isnan(rate):
        raise ValueError("is not a number of requests a second")
    if not 0.001 <= rate <= 1_000_000:
        raise ValueError("is not between 0.001 and 1000000 requests a second")
    return rate


def parse_flag(text: str) -> bool:
    """Parse `true` or `false`, in any case."""
    if text.lower() not in ("true", "false"):
        raise ValueError("is neither true nor false")
    return text.lower() == "true"


_DATASTORE = re.compile(r"(?:arn:aws[a-z-]*:medical-imaging:[a-z0-9-]+:[0-9]*:datastore/)?([0-9a-z]{32})")


def parse_datastore_ids(text: str) -> tuple[str, ...]:
    """Parse the IDs or ARNs of data stores, separated by commas."""
    found = [_DATASTORE.fullmatch(word) for word in parse_words(text)]
    if not found or not all(found):
        raise ValueError("is not a list of data store IDs: 32 letters and digits each")
    return tuple(dict.fromkeys(match[1] for match in found if match))


def parse_time_of_day(text: str) -> time:
    """Parse a time like `03:00`."""
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise ValueError("is not a time like 03:00")
    return time.fromisoformat(text)


def parse_url(text: str) -> str:
    """Check a URL with scheme `http` or `https`, a host, and perhaps a port."""
    try:
        parts = urlsplit(parse_text(text))
        is_valid = " " not in text and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ValueError("is not a URL like https://dicom.example.org")
    return text


LOOPBACK = "loopback"


def parse_origins(text: str) -> tuple[str, ...]:
    """Parse origins separated by commas; `*` stands for all pages, `loopback` for the pages of this machine."""
    origins = parse_words(text)
    for origin in origins:
        if origin not in ("*", LOOPBACK):
            parse_url(origin)
    return origins


AUTH_WAYS = ("basic", "bearer", "oidc", "alb")

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""The algorithms with a private key. HMAC is not among them: the public key would then be a password."""


def parse_words(text: str) -> tuple[str, ...]:
    """Parse words separated by commas."""
    return tuple(word.strip() for word in parse_text(text).split(",") if word.strip())


def parse_scopes(text: str) -> tuple[str, ...]:
    """Parse scopes separated by commas or blanks."""
    scopes = tuple(text.replace(",", " ").split())
    if "openid" not in scopes:
        raise ValueError("does not have the scope openid")
    return scopes


def parse_some_of(allowed: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """A parser of one or more of the allowed words, separated by commas."""

    def parse(text: str) -> tuple[str, ...]:
        words = parse_words(text)
        if not words:
            raise ValueError(f"has none of the words {', '.join(allowed)}")
        if not set(words) <= set(allowed):
            raise ValueError(f"has other words than {', '.join(allowed)}")
        return words

    return parse


def parse_auth(text: str) -> tuple[str, ...]:
    """Parse the ways to log in; `none` stands for none of them."""
    return () if text == "none" else parse_some_of(AUTH_WAYS)(text)


def parse_load_balancer_arn(text: str) -> str:
    """Check the ARN of a load balancer."""
    if not re.fullmatch(r"arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]*:loadbalancer/.+", text):
        raise ValueError("is not the ARN of a load balancer")
    return text


def parse_secret(text: str) -> str:
    """Check a secret: at least 32 characters."""
    if len(text) < 32:
        raise ValueError("is shorter than 32 characters")
    return parse_text(text)


AUDIT_REFUSE, AUDIT_CONTINUE = "refuse", "continue"


def parse_one_of(*allowed: str) -> Callable[[str], str]:
    """A parser of exactly one of the allowed words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"is none of {', '.join(allowed)}")
        return text

    return parse


def parse_log_group(text: str) -> str:
    """The name of a log group of CloudWatch Logs."""
    if not re.fullmatch(r"[A-Za-z0-9_/.#-]{1,512}", text):
        raise ValueError("is not the name of a log group")
    return text


def parse_syslog(text: str) -> str:
    """Check a URL with scheme `tls` or `udp`, a host, and perhaps a port."""
    try:
        parts = urlsplit(parse_text(text))
        is_valid = parts.scheme in ("tls", "udp") and bool(parts.hostname) and parts.port != 0
        is_valid = is_valid and " " not in text and not (parts.path or parts.query or parts.fragment)
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ValueError("is not like tls://audit.example.org:6514 or udp://audit.example.org:514")
    return text


def parse_tls(text: str) -> str:
    """Parse a mode of TLS, in any case."""
    modes = (tls.VERIFY, tls.REQUIRE, tls.OFF)
    if text.lower() not in modes:
        raise ValueError(f"is none of {', '.join(modes)}")
    return text.lower()


def parse_host(text: str) -> str:
    """Check a host name or an IP address."""
    if not is_host(text):
        raise ValueError("is not the name of a host")
    return text


ANSWER_STORED, ANSWER_SPOOLED = "stored", "spooled"
SHA256, STREAMING = "sha256", "streaming"
STRUCTURE, DECODE = "structure", "decode"
STORED, EXPLICIT_LE = "stored", "explicit-le"


def parse_file_syntax(text: str) -> str:
    """Parse `stored` or `explicit-le`, in any case."""
    if text.lower() not in (STORED, EXPLICIT_LE):
        raise ValueError(f"is neither {STORED} nor {EXPLICIT_LE}")
    return text.lower()


def parse_level(text: str) -> str:
    """Parse a log level, in any case."""
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("is none of DEBUG, INFO, WARNING, ERROR")
    return text.upper()


def parse_log_format(text: str) -> str:
    """Check `text` or `json`."""
    if text not in ("text", "json"):
        raise ValueError("is neither text nor json")
    return text

"""Patterns of person names (PS3.4 Section C.2.2.2.1.3), the same for the index and for image sets."""

import re
from collections.abc import Iterator
from itertools import islice

_BETWEEN_WORDS = re.compile(r"[\s,^=-]+")
_COMPONENTS = 5  # PS3.5 Section 6.2.1.1

EMPTY_ENDS = ("^^=", "^^=", "^=")
"""What becomes `=`, one after the other, in a name between two `=`: empty components at the end of a group."""


def group_patterns(pattern: str) -> tuple[list[str], str]:
    """What a name between two `=` is like if a component group of it matches, or several in a row; and how all begin.

    Empty components at the end of a group do not count, and an empty group stands for any: `=王*` is looked for after
    the alphabetic one. A pattern that begins with ASCII is looked for at the beginning of the name only, where PS3.5
    Section 6.2.1.2 has the alphabetic group: so an index can help. The beginning is "" where there is no such help.
    """
    after, groups = pattern.startswith("="), pattern.rstrip("=^").split("=")
    wanted = "=".join(group.rstrip("^") or "*" for group in groups) if any(groups) else ""
    patterns = list(islice(_with_fewer_components(wanted), _COMPONENTS))
    if after:
        return [f"={one}=*" for one in patterns], ""
    start = literal_start(patterns[-1]) if patterns else ""
    anchored = bool(start) and start.isascii()
    anchor = "=" if anchored else "*="
    return [f"{anchor}{wanted}=*" for wanted in patterns], start.partition("=")[0] if anchored else ""


def fuzzy_words(text: str) -> list[str]:
    """The words that a name must have; none if wildcards stand elsewhere than at their ends."""
    words = {word for part in _BETWEEN_WORDS.split(text) if (word := part.strip("*"))}
    return [] if any(set(word) & {"*", "?"} for word in words) else sorted(words)


def literal_start(pattern: str) -> str:
    """What comes before the first wildcard."""
    return re.split(r"[*?]", pattern, maxsplit=1)[0]


def _with_fewer_components(pattern: str) -> Iterator[str]:
    """The pattern, and what it is for names without its last components: `DOE^*` is also a DOE of no given name."""
    pattern = pattern.rstrip("^")
    while pattern:
        yield pattern
        if not pattern.endswith("^*"):
            return
        pattern = pattern.removesuffix("^*").rstrip("^")

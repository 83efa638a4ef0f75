"""Patterns for person names (PS3.4 Section C.2.2.2.1.3), for the index and for image sets."""

import re
from collections.abc import Iterator
from itertools import islice

_BETWEEN_WORDS = re.compile(r"[\s,^=-]+")
_COMPONENTS = 5  # PS3.5 Section 6.2.1.1


def group_patterns(pattern: str) -> tuple[list[str], str]:
    """Patterns for a name between two `=`, of which one fits if a component group matches, or several in a row.

    Also the text with which all such names begin, for an index of the database; "" if there is none. Empty components
    at the end of a group do not count. An empty group fits any group: `=王*` is looked for after the alphabetic group.
    A pattern that begins with ASCII is looked for at the beginning of the name only, where PS3.5 Section 6.2.1.2 has
    the alphabetic group.
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
    """The words that a name must have; none if there are wildcards elsewhere than at the ends of words."""
    words = {word for part in _BETWEEN_WORDS.split(text) if (word := part.strip("*"))}
    return [] if any(set(word) & {"*", "?"} for word in words) else sorted(words)


def literal_start(pattern: str) -> str:
    """The text before the first wildcard."""
    return re.split(r"[*?]", pattern, maxsplit=1)[0]


def _with_fewer_components(pattern: str) -> Iterator[str]:
    """The pattern, and patterns for names without its last components: `DOE^*` also fits a DOE without a given name."""
    pattern = pattern.rstrip("^")
    while pattern:
        yield pattern
        if not pattern.endswith("^*"):
            return
        pattern = pattern.removesuffix("^*").rstrip("^")

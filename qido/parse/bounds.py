"""How much a search may ask for: all bounds in one table, which doc/conformance.md repeats.

A thousand UIDs fit. What is beyond a bound is 400 and names it: it would cost the index, and the memory of a process,
more than any viewer has a use for.
"""

from collections.abc import Sized
from dataclasses import dataclass

from dicomweb.attribute_paths import MAX_TAGS
from dicomweb.errors import BadRequest


@dataclass(frozen=True)
class Bound:
    """At most so many of what `what` names."""

    what: str
    most: int

    def check(self, of: int | Sized) -> None:
        """BadRequest if there are more."""
        number = of if isinstance(of, int) else len(of)
        if number > self.most:
            raise BadRequest(f"a search has at most {self.most} {self.what}; this one has {number}")


QUERY_BYTES = Bound("bytes after the question mark of its URL", 32 * 2**10)
PARAMETERS = Bound("parameters", 2_048)
KEYS = Bound("different match keys", 128)
VALUES = Bound("values in all match keys together", 2_048)
PATTERNS = Bound(
    "values that are not matched as a whole (wildcards, names, descriptions, ranges, dates and times) together", 128
)
WORDS = Bound("words of names for fuzzy matching together", 32)
CHARACTERS = Bound("characters in a value", 256)
"""The longest that AHI imports of a matched VR is a UID of so many."""
INCLUDED = Bound("attributes in includefield", 256)
ORDERED = Bound("attributes in orderby", 16)
DEPTH = Bound("tags in the path of an attribute", MAX_TAGS)

BOUNDS = (QUERY_BYTES, PARAMETERS, KEYS, VALUES, PATTERNS, WORDS, CHARACTERS, INCLUDED, ORDERED, DEPTH)

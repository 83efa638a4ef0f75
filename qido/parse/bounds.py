"""The bounds of a search, which doc/conformance.md repeats. A thousand UIDs are within all of them.

A search that exceeds a bound is refused with 400, since it would cost too much time of the index and too much memory.
"""

from collections.abc import Sized
from dataclasses import dataclass

from dicomweb.attribute_paths import MAX_TAGS
from dicomweb.errors import BadRequest


@dataclass(frozen=True)
class Bound:
    """The largest number of the things that `what` names."""

    what: str
    most: int

    def check(self, asked: int | Sized) -> None:
        """BadRequest, which names the bound, if there are more."""
        number = asked if isinstance(asked, int) else len(asked)
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
"""The longest value that AHI imports, of the VRs that are matched, is a UID of this length."""
INCLUDED = Bound("attributes in includefield", 256)
ORDERED = Bound("attributes in orderby", 16)
DEPTH = Bound("tags in the path of an attribute", MAX_TAGS)

BOUNDS = (QUERY_BYTES, PARAMETERS, KEYS, VALUES, PATTERNS, WORDS, CHARACTERS, INCLUDED, ORDERED, DEPTH)

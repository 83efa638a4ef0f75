"""Objects that an answer had to leave out after it had begun, and the frame of each that was to blame.

They are notes in the cache, which all processes share, one entry for each image set. A note is no verdict: it says
which frame to try before the next answer begins, so that the answer can tell what it lacks. Each change of an entry
gives it another token. It is part of entity tags: no later answer has the tag of the one that lacked something.
"""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from ahi.cache.cache import Cache
from ahi.image_sets.image_set import ImageSetKey

_MOST_OBJECTS = 1000  # of one image set
_MOST_FRAMES = 16  # of one object


@dataclass(frozen=True)
class FrameNotes:
    """What is noted of one image set: frame numbers, from 1, by SOP Instance UID; `token` is "" where nothing is."""

    token: str = ""
    frame_numbers: Mapping[str, Sequence[int]] = field(default_factory=dict)


NotesByImageSet = Mapping[ImageSetKey, FrameNotes]
"""The notes of image sets; those of which nothing is noted are left out."""


def tokens(notes: NotesByImageSet) -> list[str]:
    """What tells entity tags apart."""
    return [one.token for one in notes.values()]


class BadFrames:
    """The notes. Two processes that write at the same time may lose one, which a later answer makes again."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def of(self, key: ImageSetKey) -> FrameNotes:
        """The notes of an image set."""
        content = self._cache.read(_name(key))
        try:
            token, frame_numbers = json.loads(content) if content else ("", {})
            return FrameNotes(token, dict(frame_numbers))
        except (ValueError, TypeError):  # of another version of the program
            return FrameNotes()

    def for_image_sets(self, keys: Iterable[ImageSetKey]) -> NotesByImageSet:
        """The notes of image sets, each looked for once."""
        return {key: notes for key in dict.fromkeys(keys) if (notes := self.of(key)).token}

    def note_all(self, failed: Iterable[tuple[ImageSetKey, str, int]]) -> None:
        """Frames could not be had: each by its image set, its SOP Instance UID and its number, from 1.

        The latest of 1,000 objects of an image set are kept, and 16 of each.
        """
        by_key: dict[ImageSetKey, list[tuple[str, int]]] = {}
        for key, uid, number in failed:
            by_key.setdefault(key, []).append((uid, number))
        for key, frames in by_key.items():
            known = dict(self.of(key).frame_numbers)
            for uid, number in frames:
                known[uid] = [*(one for one in known.pop(uid, ()) if one != number), number][-_MOST_FRAMES:]
            kept = dict(list(known.items())[-_MOST_OBJECTS:])
            self._cache.put(_name(key), json.dumps((secrets.token_hex(8), kept)).encode())


def _name(key: ImageSetKey) -> str:
    return f"bad-frames/{quote(key.datastore_id, safe='')}+{quote(key.image_set_id, safe='')}"

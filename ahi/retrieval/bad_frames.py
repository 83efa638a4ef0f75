"""Frames that failed after an answer had begun, so that the answer lacks their objects. Runs in the web processes.

They are noted in the cache, which all processes share: one entry for each image set. The next answer tries these frames
before it begins, so that it can say which objects it lacks. Each change gives an entry another token. The token is part
of entity tags, so no later answer has the tag of the incomplete one.
"""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from ahi.cache.cache import Cache
from ahi.image_sets.image_set import ImageSetKey

_MAX_OBJECTS = 1000  # of one image set
_MAX_FRAMES = 16  # of one object


@dataclass(frozen=True)
class FrameNotes:
    """The bad frames of one image set: frame numbers, from 1, by SOP Instance UID. `token` is "" without any."""

    token: str = ""
    frame_numbers: Mapping[str, Sequence[int]] = field(default_factory=dict)


NotesByImageSet = Mapping[ImageSetKey, FrameNotes]
"""The notes of image sets that have any."""


def tokens(notes: NotesByImageSet) -> list[str]:
    """Return the tokens of notes, for entity tags."""
    return [note.token for note in notes.values()]


class BadFrames:
    """The notes. If two processes write at the same time, one note may get lost. A later answer makes it again."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def for_image_set(self, key: ImageSetKey) -> FrameNotes:
        """Return the notes of an image set."""
        content = self._cache.read(_name(key))
        try:
            token, frame_numbers = json.loads(content) if content else ("", {})
            return FrameNotes(token, dict(frame_numbers))
        except (ValueError, TypeError):  # written by another version of the program
            return FrameNotes()

    def for_image_sets(self, keys: Iterable[ImageSetKey]) -> NotesByImageSet:
        """Return the notes of image sets that have any."""
        return {key: notes for key in dict.fromkeys(keys) if (notes := self.for_image_set(key)).token}

    def note_all(self, failed: Iterable[tuple[ImageSetKey, str, int]]) -> None:
        """Note frames that failed: each by its image set, SOP Instance UID and number, from 1.

        The latest 1,000 objects of an image set are kept, and the latest 16 frames of each.
        """
        by_key: dict[ImageSetKey, list[tuple[str, int]]] = {}
        for key, uid, number in failed:
            by_key.setdefault(key, []).append((uid, number))
        for key, frames in by_key.items():
            noted = dict(self.for_image_set(key).frame_numbers)
            for uid, number in frames:
                noted[uid] = [*(other for other in noted.pop(uid, ()) if other != number), number][-_MAX_FRAMES:]
            latest = dict(list(noted.items())[-_MAX_OBJECTS:])
            self._cache.put(_name(key), json.dumps((secrets.token_hex(8), latest)).encode())


def _name(key: ImageSetKey) -> str:
    return f"bad-frames/{quote(key.datastore_id, safe='')}+{quote(key.image_set_id, safe='')}"

"""The manifest of a spool entry: where in the body each instance is, and who sent it. Its text form is JSON."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from store.outcome import ReceivedInstance, Sender

_FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """All that the forwarder needs to know of one store request."""

    sender: Sender
    received_at: float
    """Seconds since 1970."""
    instances: tuple[ReceivedInstance, ...]

    @property
    def end(self) -> int:
        """The least size of the body in bytes."""
        return max((instance.start + instance.length_bytes for instance in self.instances), default=0)

    def to_json(self) -> bytes:
        """The text form."""
        return json.dumps({"format": _FORMAT, **asdict(self)}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Manifest":
        """Parse the text form; ValueError if it is not one."""
        try:
            document: dict[str, Any] = json.loads(text)
            if document["format"] != _FORMAT:
                raise ValueError("the format of the manifest is not known")
            instances = tuple(ReceivedInstance(**instance) for instance in document["instances"])
            manifest = cls(Sender(**document["sender"]), document["received_at"], instances)
        except (TypeError, LookupError, AttributeError, RecursionError) as error:
            raise ValueError("the manifest cannot be read") from error
        if not all(map(_is_well_typed, (manifest, manifest.sender, *instances))) or not manifest._has_good_ranges():
            raise ValueError("the manifest has values of other types")
        return manifest

    def _has_good_ranges(self) -> bool:
        return bool(self.instances) and all(one.start >= 0 and one.length_bytes > 0 for one in self.instances)


_TYPES: dict[str, type | tuple[type, ...]] = {
    "start": int,
    "length_bytes": int,
    "received_at": (int, float),
    "sender": Sender,
    "instances": tuple,
}


def _is_well_typed(value: object) -> bool:
    members = vars(value).items()
    return all(isinstance(member, _TYPES.get(name, str)) and member is not True for name, member in members)

"""The target of a retrieve request: its path, parsed into a typed value. Runs in the web processes."""

from dataclasses import dataclass

from dicomweb.errors import BadRequest
from dicomweb.uids import parse_uid

_STUDY = "/studies/<study>"
_SERIES = f"{_STUDY}/series/<series>"
LEVELS = (_STUDY, _SERIES, f"{_SERIES}/instances/<instance>")
"""The paths of study, series and instance, below the service root."""

_MAX_DIGITS = 9


@dataclass(frozen=True)
class Target:
    """A study, a series, or an instance, by its UIDs."""

    study_instance_uid: str
    series_instance_uid: str | None = None
    sop_instance_uid: str | None = None

    @classmethod
    def from_path(cls, study: str, series: str | None = None, instance: str | None = None) -> "Target":
        """From the UIDs of a path; BadRequest for one that cannot be a UID."""
        return cls(
            parse_uid(study, "the study"),
            parse_uid(series, "the series") if series is not None else None,
            parse_uid(instance, "the instance") if instance is not None else None,
        )

    @property
    def uid(self) -> str:
        """The UID at the level of the target."""
        return self.sop_instance_uid or self.series_instance_uid or self.study_instance_uid

    @property
    def level(self) -> str:
        """`study`, `series` or `instance`."""
        return "instance" if self.sop_instance_uid else "series" if self.series_instance_uid else "study"


def parse_frame_numbers(text: str) -> tuple[int, ...]:
    """A comma-separated list of frame numbers, from 1, in the order of the request (PS3.18 Section 10.4.1.1.6)."""
    words = text.split(",")
    if not all(word.isascii() and word.isdigit() and len(word) <= _MAX_DIGITS for word in words):
        raise BadRequest("frames are a comma-separated list of positive numbers")
    numbers = tuple(int(word) for word in words)
    if 0 in numbers:
        raise BadRequest("frames are counted from 1")
    if len(set(numbers)) < len(numbers):
        raise BadRequest("a frame is listed twice")
    return numbers

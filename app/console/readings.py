"""Values of DICOM attributes as people read them: names, dates, times, sizes. Runs in the web processes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time

from pydicom.config import IGNORE
from pydicom.uid import UID

from dicomweb.dates import read_date, read_time
from dicomweb.dicom_json import person_name

_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_STEP = 1000
_SPANS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


@dataclass(frozen=True)
class PersonName:
    """The component groups of a name, each in the order in which people write it; "" for one that is missing."""

    alphabetic: str = ""
    ideographic: str = ""
    phonetic: str = ""

    @classmethod
    def from_text(cls, text: str) -> "PersonName":
        """From a value of VR PN: `Yamada^Tarou=山田^太郎=やまだ^たろう` (PS3.5 Section 6.2.1)."""
        return cls.from_groups(person_name(text) or {})

    @classmethod
    def from_groups(cls, groups: Mapping[str, object]) -> "PersonName":
        """From the groups of the DICOM JSON Model."""
        alphabetic, ideographic, phonetic = (str(groups.get(name) or "") for name in _GROUPS)
        return cls(_in_latin(alphabetic), _side_by_side(ideographic), _side_by_side(phonetic))

    @property
    def main(self) -> str:
        """The group that stands first: the alphabetic one, or the first that there is; "" for no name."""
        return next(iter(self._present), "")

    @property
    def others(self) -> tuple[str, ...]:
        """The other groups, for beside it."""
        return self._present[1:]

    @property
    def _present(self) -> tuple[str, ...]:
        return tuple(group for group in (self.alphabetic, self.ideographic, self.phonetic) if group)

    def __str__(self) -> str:
        return self.main + "".join(f" ({other})" for other in self.others)


def _components(group: str) -> list[str]:
    """Family name, given name, middle name, prefix, suffix; there may be fewer."""
    return [component.strip() for component in group.split("^")]


def _in_latin(group: str) -> str:
    """`Adams, John Robert Quincy, Rev., B.A.`: the family name first, as lists have it."""
    family, given, middle, *titles = [*_components(group), "", "", ""]
    called = " ".join(filter(None, (given, middle)))
    return ", ".join(filter(None, (family, called, *titles)))


def _side_by_side(group: str) -> str:
    return " ".join(filter(None, _components(group)))


def read_day(value: object) -> str:
    """A date in the form of ISO 8601; a text that is no date as it is."""
    day = value if isinstance(value, date) else read_date(str(value))
    return day.isoformat() if day else str(value)


def read_clock(value: object) -> str:
    """A time of day in the form of ISO 8601, without fractions of seconds; a text that is no time as it is."""
    clock = value if isinstance(value, time) else read_time(str(value))
    return clock.isoformat("seconds") if clock else str(value)


def read_instant(text: str) -> str:
    """A value of VR DT in the form of ISO 8601, with its offset from UTC if it has one; else the text as it is."""
    body, sign, offset = _split_offset(text.strip())
    day, clock = read_date(body[:8]), read_time(body[8:]) if body[8:] else None
    if day is None or (body[8:] and clock is None):
        return text
    zone = f" UTC{sign}{offset[:2]}:{offset[2:]}" if sign else ""
    return f"{day.isoformat()} {clock.isoformat('seconds')}{zone}" if clock else f"{day.isoformat()}{zone}"


def _split_offset(text: str) -> tuple[str, str, str]:
    for sign in "+-":
        body, found, offset = text.partition(sign)
        if found and len(offset) == 4 and offset.isdecimal():
            return body, sign, offset
    return text, "", ""


def read_size(length_bytes: int) -> str:
    """A size with a unit of the SI: `3.2 MB`."""
    size, unit = float(length_bytes), 0
    while size >= _STEP and unit < len(_UNITS) - 1:
        size, unit = size / _STEP, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{length_bytes} {_UNITS[0]}"


def read_zone(moment: datetime) -> str:
    """The time zone of a moment: `UTC+01:00`."""
    offset = moment.strftime("%z")
    return "UTC" if offset in ("+0000", "") else f"UTC{offset[:3]}:{offset[3:5]}"


def read_age(seconds: float) -> str:
    """A time span in its two largest units: `2 d 3 h`, `5 min`, `12 s`."""
    left, parts = max(0, round(seconds)), list[str]()
    for unit, length in _SPANS:
        number, left = divmod(left, length)
        if number or (unit == "s" and not parts):
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def read_uid(uid: str) -> str:
    """The name that the standard gives a UID; "" for another."""
    name = str(UID(uid, validation_mode=IGNORE).name)
    return "" if name == uid else name

"""Dates and times of DICOM as Python's, with the forms of ACR-NEMA (PS3.5 Section 6.2)."""

from datetime import date, time


def read_date(text: str) -> date | None:
    """Parse a date, also in the form of ACR-NEMA, 1999.12.31 (PS3.5 Section 6.2); None if it is ill-formed."""
    digits = text.replace(".", "")
    if len(digits) != 8 or not digits.isdecimal():
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def read_time(text: str) -> time | None:
    """Parse a time, also in the form of ACR-NEMA, with colons; None if it is ill-formed.

    Parts that are left out are 0. A leap second counts as the 59th.
    """
    digits, _, fraction = text.replace(":", "").partition(".")
    if not digits.isdecimal() or len(digits) not in (2, 4, 6) or not (fraction or "0").isdecimal():
        return None
    hour, minute, second = (int(digits[at : at + 2] or "0") for at in (0, 2, 4))
    try:
        return time(hour, minute, min(second, 59) if second == 60 else second, int(fraction[:6].ljust(6, "0")))
    except ValueError:
        return None

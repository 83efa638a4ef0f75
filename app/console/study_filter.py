"""The form of the work list as a value: parsed from a URL, written as one, and as the keys of searches.

Runs in the web processes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import Enum

from dicomweb.errors import BadRequest

PAGE_SIZES = (25, 50, 100)
LAST_ROW, LAST_ROW_OF_TEXT = 10_000, 250
"""The list goes on up to this row. To see later ones, the filter must be narrower. A text is searched for in several
ways, so that each page takes longer than the one before."""

_WILDCARDS = frozenset("*?")
_WORD_ORDERS = 2
_MOST_WORDS = 8  # of a name
_DIGRAPHS = re.compile(r"([aou])e(?=\w)", re.IGNORECASE)
Keys = list[tuple[str, str]]
"""The parameters of a search."""


class Period(Enum):
    """The choices for the date of studies, by the value of the form."""

    ANY = ""
    TODAY = "today"
    YESTERDAY = "yesterday"
    WEEK = "week"
    MONTH = "month"
    RANGE = "range"


_DAYS_BACK = {Period.TODAY: (0, 0), Period.YESTERDAY: (1, 1), Period.WEEK: (6, 0), Period.MONTH: (30, 0)}
"""The first and the last day of a period, as days before today."""

COLUMNS = {
    "name": "PatientName",
    "id": "PatientID",
    "birth": "PatientBirthDate",
    "date": "StudyDate,StudyTime",
    "accession": "AccessionNumber",
    "description": "StudyDescription",
}
"""The columns by which the list can be sorted, and the attributes that this means."""

_NEWEST_FIRST = "-date"
_NO_PICTURES = "none"
_ALL = "all"


@dataclass(frozen=True, kw_only=True)
class StudyFilter:
    """The fields of the form, as texts of the client. An empty one matches everything."""

    text: str = ""
    name: str = ""
    patient_id: str = ""
    birth_date: str = ""
    period: Period = Period.ANY
    first_day: str = ""
    last_day: str = ""
    modality: str = ""
    accession: str = ""
    description: str = ""
    sort: str = _NEWEST_FIRST
    page: int = 1
    size: int = PAGE_SIZES[0]
    pictures: bool = True
    everywhere: bool = False
    """Whether words of names are searched for in all studies, however long that takes."""

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> "StudyFilter":
        """From the parameters of a URL. What the form cannot send has its usual value instead."""
        texts = {field: parameters.get(name, "").strip() for name, field in _TEXT_FIELDS.items()}
        known = {one.value: one for one in Period}
        period = known.get(parameters.get("date", ""), Period.ANY)
        if period is Period.ANY and (texts["first_day"] or texts["last_day"]):
            period = Period.RANGE
        sort = parameters.get("sort", _NEWEST_FIRST)
        size = _number(parameters.get("size"), PAGE_SIZES[0])
        return cls(
            **texts,
            period=period,
            sort=sort if sort.removeprefix("-") in COLUMNS else _NEWEST_FIRST,
            page=max(1, _number(parameters.get("page"), 1)),
            size=size if size in PAGE_SIZES else PAGE_SIZES[0],
            pictures=parameters.get("pictures") != _NO_PICTURES,
            everywhere=parameters.get("words") == _ALL,
        )

    @property
    def is_open(self) -> bool:
        """Whether it matches all studies."""
        return not any(getattr(self, field) for field in _TEXT_FIELDS.values()) and self.period is Period.ANY

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of a URL that has this filter, without those that have their usual value."""
        usual = StudyFilter()
        texts = {name: str(getattr(self, field)) for name, field in _TEXT_FIELDS.items()}
        others = {"date": self.period.value, "sort": self.sort, "page": str(self.page), "size": str(self.size)}
        others |= {"pictures": "" if self.pictures else _NO_PICTURES, "words": _ALL if self.everywhere else ""}
        left_out = {"sort": usual.sort, "page": str(usual.page), "size": str(usual.size)}
        return {name: text for name, text in {**texts, **others}.items() if text and text != left_out.get(name)}

    def sorted_by(self, column: str) -> "StudyFilter":
        """The filter of the first page, sorted by a column: the other way round if it was already."""
        ways = (f"-{column}", column) if column == "date" else (column, f"-{column}")
        return replace(self, page=1, sort=ways[1] if self.sort == ways[0] else ways[0])

    @property
    def offset(self) -> int:
        """The number of rows before the page."""
        return min((self.page - 1) * self.size, self.last_row - self.size)

    @property
    def last_row(self) -> int:
        """The number of the last row that a page of this filter can show."""
        return LAST_ROW_OF_TEXT if self.text or self.has_words else LAST_ROW

    @property
    def sorts_by_newest(self) -> bool:
        """Whether the order is the one that searches have without being told."""
        return self.sort == _NEWEST_FIRST

    @property
    def has_words(self) -> bool:
        """Whether names can also be searched for by their words, as people say them."""
        named = [text for text in (self.name, self.text) if text]
        return bool(named) and all(0 < len(_words(text)) <= _MOST_WORDS for text in named)

    @property
    def finds_few(self) -> bool:
        """Whether a field has what belongs to one patient or study."""
        return bool(self.patient_id or self.birth_date or self.accession)

    def match_keys(self, today: date) -> list[Keys]:
        """The parameters of one search, or of several, of which one must find a study.

        BadRequest for a text that is no date.
        """
        keys = [*_keys("PatientName", _name_pattern(self.name)), *self._other_keys(today)]
        if not self.text:
            return [keys]
        alternatives = [("PatientName", _name_pattern(self.text)), ("PatientID", _beginning(self.text))]
        return [[*keys, alternative] for alternative in alternatives]

    def word_keys(self, today: date) -> Keys:
        """The parameters of a search for names that have each word of the filter, in any order."""
        words = [word for text in (self.name, self.text) for word in _words(text)]
        patterns = (make(word) for make in (_part_pattern, _word_pattern) for word in words)
        return [*(("PatientName", pattern) for pattern in patterns), *self._other_keys(today)]

    def sound_keys(self, today: date) -> Keys:
        """The parameters of a search for names that sound like those of the filter."""
        words = " ".join(word for text in (self.name, self.text) for word in _words(text))
        return [("PatientName", words), *self._other_keys(today), ("fuzzymatching", "true")]

    def day_keys(self, today: date) -> Keys:
        """The parameters of a search for all studies of the period."""
        return [*_keys("StudyDate", self._days(today))]

    def _other_keys(self, today: date) -> Keys:
        return [
            *_keys("PatientID", _beginning(self.patient_id)),
            *_keys("PatientBirthDate", _day(self.birth_date, "the birth date")),
            *self.day_keys(today),
            *_keys("ModalitiesInStudy", self.modality.upper()),
            *_keys("AccessionNumber", _beginning(self.accession)),
            *_keys("StudyDescription", _containing(self.description)),
        ]

    def _days(self, today: date) -> str:
        if self.period is Period.RANGE:
            first, last = _day(self.first_day, "the first day"), _day(self.last_day, "the last day")
            return f"{first}-{last}" if first or last else ""
        if self.period is Period.ANY:
            return ""
        first, last = (f"{today - timedelta(days):%Y%m%d}" for days in _DAYS_BACK[self.period])
        return f"{first}-{last}"


_TEXT_FIELDS = {
    "q": "text",
    "name": "name",
    "id": "patient_id",
    "birth": "birth_date",
    "from": "first_day",
    "to": "last_day",
    "modality": "modality",
    "accession": "accession",
    "description": "description",
}
"""The fields of the form by the names of their parameters."""


def _keys(keyword: str, value: str) -> Iterable[tuple[str, str]]:
    return [(keyword, value)] if value else []


def _plain(text: str) -> str:
    """The text without backslashes, which separate values and are in none."""
    return text.replace("\\", " ").strip()


def _name_pattern(text: str) -> str:
    """A name by the beginnings of its words, the first of which is that of a component group, in any order of two.

    A text with wildcards, or with carets, is a pattern already.
    """
    text = _plain(text)
    if _WILDCARDS & set(text):
        return text
    words = _split(text)
    orders = [words, words[::-1]] if len(words) == _WORD_ORDERS else [words]
    written = (spelt for order in orders for spelt in ([*order], [*map(_with_umlauts, order)]) if order)
    return "\\".join(dict.fromkeys("*".join(order) + "*" for order in written))


def _word_pattern(word: str) -> str:
    """Patterns of the names that have a word with this beginning; words follow carets, blanks and hyphens."""
    spelt = dict.fromkeys((word, _with_umlauts(word)))
    return "\\".join(f"{before}{one}*" for one in spelt for before in ("", "*^", "* ", "*-"))


def _part_pattern(word: str) -> str:
    """Fewer patterns, of all these names and some others: the database rules out most names by them."""
    return "\\".join(dict.fromkeys(f"*{one}*" for one in (word, _with_umlauts(word))))


def _with_umlauts(word: str) -> str:
    """The word with the vowels for which its digraphs may stand: `Mueller` is also looked for as `Muller`, a Müller."""
    return _DIGRAPHS.sub(r"\1", word)


def _words(text: str) -> list[str]:
    """The words of a name; none of a pattern, or of several component groups."""
    return [] if {*_WILDCARDS, "="} & set(text) else _split(_plain(text))


def _split(text: str) -> list[str]:
    return text.replace(",", " ").replace("^", " ").split()


def _beginning(text: str) -> str:
    text = _plain(text)
    return text if not text or _WILDCARDS & set(text) else f"{text}*"


def _containing(text: str) -> str:
    text = _plain(text)
    return text if not text or _WILDCARDS & set(text) else f"*{text}*"


def _day(text: str, name: str) -> str:
    """A date of the form in the form of DICOM; "" for none."""
    if not text:
        return ""
    try:
        return f"{date.fromisoformat(text):%Y%m%d}"
    except ValueError:
        raise BadRequest(f"{name} is not a date: write it as 2026-01-31") from None


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else default

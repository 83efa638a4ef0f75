"""The results of a search, before they are encoded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time

from dicomweb.dicom_json import DataSet
from qido.parse.attributes import Level, SearchAttribute

Value = str | int | date | time


@dataclass(frozen=True)
class Result:
    """One patient, study, series or instance: the values of each returned attribute, none if they are unknown.

    `keys` are the keys of its rows in the index, at its level and above. `described` are the attributes that image sets
    tell. `truncated` means that some are missing, because too many image sets would have to be read.
    """

    keys: Mapping[Level, int]
    values: Mapping[SearchAttribute, tuple[Value, ...]]
    described: DataSet = field(default_factory=dict)
    truncated: bool = False


@dataclass(frozen=True)
class ResultPage:
    """A page of results in order, the number of further results, and the number of all, if the query asks for it.

    `warnings` are those of this page; the query has its own.
    """

    results: tuple[Result, ...]
    additional: int
    total: int | None = None
    warnings: tuple[str, ...] = ()

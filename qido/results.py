"""What a search finds, before it is encoded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, time

from dicomweb.dicom_json import DataSet
from qido.parse.attributes import Level, SearchAttribute

Value = str | int | date | time


@dataclass(frozen=True)
class Result:
    """One patient, study, series or instance: the values of each attribute asked for, none if it is unknown.

    `keys` are those of the index: its own and those above it. `described` is what the image sets say. `truncated`
    tells that they were too many to be asked for all that was wanted.
    """

    keys: Mapping[Level, int]
    values: Mapping[SearchAttribute, tuple[Value, ...]]
    described: DataSet = field(default_factory=dict)
    truncated: bool = False


@dataclass(frozen=True)
class ResultPage:
    """A page of results in their order, how many more there are after it, and of how many it is, if that was asked.

    `warnings` are of this page, beside those of the query.
    """

    results: tuple[Result, ...]
    additional: int
    total: int | None = None
    warnings: tuple[str, ...] = ()

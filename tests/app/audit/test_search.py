"""The audit trail is found again in its files: every message, in steps with bounds, rotated or not."""

import os
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audit import search, trail_files
from app.audit.event import Event, EventKind
from app.audit.message import Source
from app.audit.record import BEGIN, Record
from app.audit.search import Position, Step, Wanted, search_trail
from dicomweb.errors import BadRequest, UpstreamFailed
from tests.app.audit.messages import read

NOON = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)
SOURCE = Source("here")
EVIL = '<script>alert(1)</script>"&'


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def event(minutes: float, kind: EventKind = EventKind.ACCESS, **members: object) -> Event:
    return replace(Event(kind, 200, user="basic:anna", client="192.0.2.1", at=at(minutes)), **members)  # type: ignore[arg-type]


def write(path: Path, events: Sequence[Event], patient: str | None = None) -> None:
    with path.open("ab") as file:
        for one in events:
            file.write(SOURCE.xml(one, patient) + b"\n")


def steps(path: Path, wanted: Wanted = Wanted()) -> Iterator[Step]:  # noqa: B008 - it is frozen
    """The steps of a search to its end."""
    step = search_trail(path, wanted)
    yield step
    while step.further:
        step = search_trail(path, wanted, Position.from_text(str(step.further)))
        yield step


def found(path: Path, wanted: Wanted = Wanted()) -> list[Record]:  # noqa: B008 - it is frozen
    return [record for step in steps(path, wanted) for record in step.records]


@pytest.mark.parametrize("kind", EventKind)
def test_each_kind_is_read_back_as_it_was_written(kind: EventKind) -> None:
    told = event(
        0, kind, user=EVIL, ae_title="aetitle", request_id="r1", study_instance_uid="1.2", series_instance_uid="1.2.3"
    )
    told = replace(told, resource="/studies", query=f"/studies?PatientName={EVIL}", subject=f"user {EVIL}")
    record = Record.from_line(SOURCE.xml(told, "P<1>"))
    assert record is not None
    assert (record.at, record.kind, record.outcome, record.described) == (NOON, kind, 0, "HTTP 200")
    assert (record.user, record.client, record.ae_title, record.patient_id) == (EVIL, "192.0.2.1", "aetitle", "P<1>")
    if kind is EventKind.QUERY:
        assert record.query == told.query
    elif kind in (EventKind.CHANGE, EventKind.OPERATION, EventKind.TRAIL):
        assert (record.subject, record.resource, record.request_id) == (told.subject, "/studies", "r1")
    else:
        assert (record.study_instance_uid, record.series_instance_uid) == ("1.2", "1.2.3")
    assert record.without_patient().names_patient is False


@pytest.mark.parametrize("kind", [EventKind.CHANGE, EventKind.OPERATION, EventKind.TRAIL])
def test_the_schema_of_the_standard_knows_these(kind: EventKind) -> None:
    told = read(SOURCE.xml(event(0, kind, resource="/access/audit", subject="user=anna", request_id="r"), None))
    assert told.objects == {"URI": "/access/audit"}
    assert "user=anna" in told.details.values()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"<html>",
        SOURCE.xml(event(0), None)[:-20],
        BEGIN + b"</AuditMessage>",
        BEGIN + b"<EventIdentification/></AuditMessage>",
        SOURCE.xml(event(0), None).replace(b"<AuditMessage>", b'<!DOCTYPE x [<!ENTITY e "x">]><AuditMessage>'),
        SOURCE.xml(event(0), None).replace(b"2026-11-30", b"soon"),
        SOURCE.xml(event(0), None).replace(b'Z"', b'"'),
    ],
)
def test_what_is_no_message_is_passed_over(line: bytes) -> None:
    assert Record.from_line(line) is None


def test_what_fits_is_found_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    events = [
        event(1, EventKind.QUERY, query="/studies"),
        event(2, study_instance_uid="1.2"),
        event(3, study_instance_uid="1.2", user="basic:bert", status=404),
        event(4, EventKind.LOGIN, user="basic:bärbel & co", status=401),
        event(5, EventKind.ALERT, status=403),
        event(6, study_instance_uid="1.2", status=503),
    ]
    write(path, events)
    write(path, [event(7, study_instance_uid="1.3")], "P&1")

    def minutes(**wanted: object) -> list[int]:
        return [int((one.at - NOON).total_seconds() // 60) for one in found(path, Wanted(**wanted))]  # type: ignore[arg-type]

    assert minutes() == [7, 6, 5, 4, 3, 2, 1]
    assert minutes(first=at(2.5), last=at(5)) == [5, 4, 3]
    assert minutes(user="bert") == [3]
    assert minutes(user="bärbel & co") == [4]
    assert minutes(kind=EventKind.ALERT) == [5]
    assert minutes(kind=EventKind.QUERY) == [1]
    assert minutes(outcome=4) == [5, 4, 3]
    assert minutes(outcome=8) == [6]
    assert minutes(study_instance_uid="1.2") == [6, 3, 2]
    assert minutes(patient_id="P&1") == [7]
    assert minutes(user="anna", study_instance_uid="1.3") == [7]
    assert minutes(user="nobody") == []


@pytest.mark.parametrize("zone", [timezone.min, timezone.utc, timezone.max])
def test_a_range_may_reach_to_the_ends_of_all_dates(tmp_path: Path, zone: timezone) -> None:
    write(tmp_path / "audit", [event(0)])
    first, last = (moment.replace(tzinfo=zone) for moment in (datetime.min, datetime.max))
    assert len(found(tmp_path / "audit", Wanted(first=first, last=last))) == 1


def test_rotated_files_are_searched_and_packed_ones_are_named(tmp_path: Path) -> None:
    path = tmp_path / "audit.xml"
    for number, name in enumerate(["audit.xml.2", "audit.xml-20261129", "audit.xml.1", "audit.xml"]):
        write(tmp_path / name, [event(number)])
        os.utime(tmp_path / name, (at(number).timestamp(), at(number).timestamp()))
    (tmp_path / "audit.xml.3.gz").write_bytes(b"x")
    (tmp_path / "audit.xmlish").write_bytes(SOURCE.xml(event(9), None) + b"\n")
    (tmp_path / "audit.xml.4").symlink_to(tmp_path / "audit.xmlish")
    (tmp_path / "audit.xml.5").mkdir()
    os.mkfifo(tmp_path / "audit.xml.6")
    (step,) = steps(path)
    assert [record.at for record in step.records] == [at(3), at(2), at(1), at(0)]
    assert step.packed == ("audit.xml.3.gz",)


def test_a_search_goes_on_where_it_was_while_the_file_is_written_and_rotated(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    write(path, [event(number) for number in range(120)])
    first = search_trail(path, Wanted())
    assert (len(first.records), first.back_to) == (search.MOST_RECORDS, at(70))
    path.rename(tmp_path / "audit.1")
    write(path, [event(200)])
    rest = search_trail(path, Wanted(), first.further)
    assert [record.at for record in rest.records] == [at(number) for number in range(69, 19, -1)]
    (tmp_path / "audit.1").unlink()
    with pytest.raises(BadRequest, match="rotated"):
        search_trail(path, Wanted(), first.further)


@pytest.mark.parametrize("text", ["x", "1-", "-1", "1-2-3", "1-" + "9" * 21, "١-١"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        Position.from_text(text)


@pytest.mark.parametrize("bound", ["STEP_BYTES", "STEP_SECONDS"])
def test_a_step_has_bounds_and_all_is_found_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    path = tmp_path / "audit"
    write(path, [event(number, user="basic:rare" if number % 40 == 0 else "basic:anna") for number in range(400)])
    monkeypatch.setattr(search, bound, 20_000 if bound == "STEP_BYTES" else 0.0)
    taken = list(steps(path, Wanted(user="rare")))
    assert len(taken) > 10
    assert [record.at for step in taken for record in step.records] == [at(number) for number in range(360, -1, -40)]


def test_a_day_in_a_large_file_is_found_without_reading_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit"
    line = SOURCE.xml(event(0), None)
    with path.open("wb") as file:
        for number in range(30_000):
            file.write(
                re.sub(rb"2026-11-30T12:00:00.000", at(number).isoformat("T", "milliseconds")[:23].encode(), line)
            )
            file.write(b"\n")
    read_bytes = 0
    pread = os.pread

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        nonlocal read_bytes
        read_bytes += length
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    assert [one.at for one in found(path, Wanted(first=at(500), last=at(502)))] == [at(502), at(501), at(500)]
    assert path.stat().st_size > 10 * 2**20 > 2 * read_bytes


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40).filter(lambda one: b"\n" not in one)), st.integers(1, 50), st.booleans())
def test_lines_come_backwards_whatever_the_blocks(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], block: int, ended: bool
) -> None:
    content = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch, path.open("rb") as file:
        patch.setattr(trail_files, "BLOCK_BYTES", block)
        got = list(trail_files.lines_before(file.fileno(), len(content)))
        expected = content.removesuffix(b"\n").split(b"\n") if content else []
        assert [line for _, line in got] == expected[::-1]
        assert all(content[offset : offset + len(line)] == line for offset, line in got)
        for offset, _ in random.Random(1).sample(got, min(3, len(got))):  # noqa: S311 - a test
            before = [line for _, line in trail_files.lines_before(file.fileno(), offset)]
            assert before == [line for at, line in got if at < offset]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([b"", b"a", b"needle", b"a needle in it", b"b" * 30]), max_size=20), st.integers(1, 40))
def test_no_line_with_the_needle_is_passed_over(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], block: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "file"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    with pytest.MonkeyPatch.context() as patch, path.open("rb") as file:
        patch.setattr(trail_files, "BLOCK_BYTES", block)
        whole = list(trail_files.lines_before(file.fileno(), path.stat().st_size))
        found = list(trail_files.lines_before(file.fileno(), path.stat().st_size, [b"needle"]))
    assert [one for one in found if b"needle" in one[1]] == [one for one in whole if b"needle" in one[1]]
    assert set(found) <= set(whole) and (not whole or found[-1] == whole[-1])


def test_a_line_without_an_end_fills_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail_files, "BLOCK_BYTES", 100)
    monkeypatch.setattr(trail_files, "LONGEST_LINE_BYTES", 1000)
    path = tmp_path / "file"
    path.write_bytes(b"first\n" + b"x" * 50_000 + b"\nlast\n")
    with path.open("rb") as file:
        lines = [line for _, line in trail_files.lines_before(file.fileno(), path.stat().st_size)]
    assert lines == [b"last", b"", b"first"]


def test_a_trail_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UpstreamFailed, match="No such file"):
        search_trail(tmp_path / "none" / "audit", Wanted())
    assert found(tmp_path / "audit") == []

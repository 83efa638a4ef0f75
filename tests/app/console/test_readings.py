"""Values as people read them."""

from datetime import date, datetime, time, timedelta, timezone

import pytest

from app.console.readings import (
    PersonName,
    read_age,
    read_clock,
    read_day,
    read_instant,
    read_size,
    read_uid,
    read_zone,
)


@pytest.mark.parametrize(
    ("text", "main", "others"),
    [
        ("Adams^John Robert Quincy^^Rev.^B.A. M.Div.", "Adams, John Robert Quincy, Rev., B.A. M.Div.", ()),
        ("Doe^John", "Doe, John", ()),
        ("DOE", "DOE", ()),
        ("^Anna", "Anna", ()),
        ("Doe^^^^", "Doe", ()),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou", ("山田 太郎", "やまだ たろう")),
        ("=山田^太郎", "山田 太郎", ()),
        ("Hong^Gildong=洪^吉洞", "Hong, Gildong", ("洪 吉洞",)),
        ("<script>alert(1)</script>", "<script>alert(1)</script>", ()),
        ("", "", ()),
        ("^^^^", "", ()),
    ],
)
def test_a_name_has_its_components_in_order_and_its_groups_beside(
    text: str, main: str, others: tuple[str, ...]
) -> None:
    name = PersonName.from_text(text)
    assert (name.main, name.others) == (main, others)


def test_a_name_as_one_text_has_the_other_groups_in_brackets() -> None:
    assert str(PersonName.from_text("Hong^Gildong=洪^吉洞")) == "Hong, Gildong (洪 吉洞)"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (date(2024, 1, 31), "2024-01-31"),
        ("20240131", "2024-01-31"),
        ("2024.01.31", "2024-01-31"),
        ("2024", "2024"),
        ("", ""),
    ],
)
def test_a_date_is_that_of_iso(value: object, read: str) -> None:
    assert read_day(value) == read


@pytest.mark.parametrize(
    ("value", "read"),
    [(time(9, 5, 7, 120_000), "09:05:07"), ("0905", "09:05:00"), ("090507.12", "09:05:07"), ("x", "x")],
)
def test_a_time_is_that_of_iso(value: object, read: str) -> None:
    assert read_clock(value) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("20240131", "2024-01-31"),
        ("20240131090507", "2024-01-31 09:05:07"),
        ("20240131090507.5+0100", "2024-01-31 09:05:07 UTC+01:00"),
        ("20240131090507-0330", "2024-01-31 09:05:07 UTC-03:30"),
        ("yesterday", "yesterday"),
        ("20240131xx", "20240131xx"),
    ],
)
def test_an_instant_has_its_offset_from_utc(text: str, read: str) -> None:
    assert read_instant(text) == read


@pytest.mark.parametrize(
    ("length_bytes", "read"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2 * 10**9, "2.0 GB"), (10**17, "100000.0 TB")],
)
def test_a_size_has_a_unit(length_bytes: int, read: str) -> None:
    assert read_size(length_bytes) == read


def test_a_uid_of_the_standard_has_a_name() -> None:
    assert read_uid("1.2.840.10008.5.1.4.1.1.2") == "CT Image Storage"
    assert read_uid("1.2.3") == ""


@pytest.mark.parametrize(
    ("seconds", "read"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (7322, "2 h 2 min"),
        (86_400 * 3 + 5, "3 d 5 s"),
    ],
)
def test_spans(seconds: float, read: str) -> None:
    assert read_age(seconds) == read


@pytest.mark.parametrize(("minutes", "read"), [(0, "UTC"), (60, "UTC+01:00"), (-210, "UTC-03:30")])
def test_time_zones(minutes: int, read: str) -> None:
    assert read_zone(datetime(2026, 1, 1, tzinfo=timezone(timedelta(minutes=minutes)))) == read

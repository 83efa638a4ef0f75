"""Search against a plain model of PS3.4 Section C.2.2.2 on an archive of odd values, and against hostile parameters."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from datetime import date, time
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.engine import Database
from db.index_kind import IndexKind
from dicomweb.dicom_json import DataSet
from qido.image_sets.matching import fulfils
from qido.parse.attributes import Level
from qido.parse.query import parse_query
from tests.qido.archive import Series, Study, client, image, write

NAMES = (
    *("None", None, "Doe^John", "DOE^JANE^^^", "doe^j ", "Dör^Jö", "Dor", "D%e_^x", "=山田^太郎", "[D]^!"),
    *("Yamada^Tarou=山田^太郎=やまだ^たろう", "Noe^None", "DOE", "D^^J", "Doe^J=Doe^山", "d\\e"),
)
IDS = ("NO_PID", "None", "P1", "p1", "P1 ", "P_1", "P%1", "P!1", "P[1]", "Ö1", "O1", "PP11", "P\\1")
TEXTS = ("None", None, "", "Head", "head 50%", "HEAD_50", "Tête", "tete*", "Kopf?")
MODALITIES = ("CT", "MR", "CT ", "None", None, "SR")
DATES = (None, date(2024, 1, 1), date(2024, 1, 2), date(2024, 2, 29))
TIMES = (None, time(0), time(10), time(10, 30), time(10, 30, 15), time(23, 59, 59))
NUMBERS = (None, "None", "1", "2 ", "+2", "02", "10", "-1", "2a", "")


def odd_archive() -> list[Study]:
    """Each study has its own issuer, because a server that ignores case allows an ID only once for each."""
    random = Random(8)  # noqa: S311 - the same archive every time
    pick = random.choice
    return [
        Study(
            f"1.{n}",
            {"patientid": pick(IDS), "patientname": pick(NAMES)},
            {"studydate": pick(DATES), "studytime": pick(TIMES), "studydescription": pick(TEXTS), "studyid": pick(IDS)},
            tuple(
                Series(
                    f"1.{n}.{m}",
                    {"modality": pick(MODALITIES), "seriesnumber": pick(NUMBERS)},
                    (image(f"1.{n}.{m}.1", m),),
                )
                for m in range(random.randrange(4))
            ),
            issuer=f"I{n}",
        )
        for n in range(120)
    ]


STUDIES = odd_archive()


@pytest.fixture(scope="module")
def odd(new_tables: Callable[[], str]) -> Iterator[FlaskClient]:
    url = new_tables()
    write(url, STUDIES)
    database = Database(url)
    yield client(database)
    database.close()


def folded(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(char) != "Mn")


def known(text: str | None, absent: Sequence[str] = ("None", "")) -> str | None:
    return None if text is None or text.strip() in absent else text.strip()


def matches_text(pattern: str, text: str) -> bool:
    parts = {"*": ".*", "?": "."}
    return bool(re.fullmatch("".join(parts.get(char) or re.escape(char) for char in pattern), text, re.DOTALL))


def matches_id(pattern: str, text: str | None) -> bool:
    text = known(text, ("None", "NO_PID", ""))
    return text is not None and matches_text(pattern, text)


def matches_description(pattern: str, text: str | None) -> bool:
    text = known(text)
    return text is not None and matches_text(folded(pattern), folded(text))


def matches_name(pattern: str, text: str | None) -> bool:
    """Any run of component groups, without empty components at their ends; `A^*` is also `A`."""
    text = known(text)
    if text is None:
        return False
    groups = [group.rstrip("^") for group in folded(text).split("=")]
    pattern, after = folded(pattern), pattern.startswith("=")
    if not pattern.strip("=^"):
        return False
    patterns = ["=".join(group.rstrip("^") or "*" for group in pattern.rstrip("=^").split("="))]
    while patterns[-1].endswith("^*"):
        patterns.append(patterns[-1][:-2].rstrip("^"))
    literal = re.split(r"[*?]", next(filter(None, reversed(patterns)), ""))[0]
    starts = range(1 if after or (literal and literal.isascii()) else len(groups))
    runs = ["=".join(groups[first:last]) for first in starts for last in range(first + 1, len(groups) + 1)]
    return any(pattern and matches_text(pattern, run) for pattern in patterns for run in runs)


def universal(pattern: str, letters: str = "*") -> bool:
    return not pattern.strip().strip(letters)


alphabet = st.sampled_from("DdOoÖöe^Jj*?=n1P%_!\\[]N山田太 ")
patterns = st.text(alphabet, max_size=6) | st.sampled_from([text for text in (*NAMES, *IDS, *TEXTS) if text])


def found(odd: FlaskClient, resource: str, parameters: dict[str, str], tag: str) -> list[str]:
    response = odd.get(f"/aetitle/{resource}?{urlencode(parameters)}")
    assert response.status_code == 200, response.get_data(as_text=True)
    return [result[tag]["Value"][0] for result in response.get_json(force=True)]


always = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@always
@given(name=patterns, patient_id=patterns, description=patterns)
def test_texts_match_as_in_the_model(odd: FlaskClient, name: str, patient_id: str, description: str) -> None:
    """PS3.4 Sections C.2.2.2.1, C.2.2.2.3, C.2.2.2.4."""
    keys: tuple[tuple[str, str, str, Callable[..., bool], Callable[[Study], Any]], ...] = (
        ("PatientName", name, "*=", matches_name, lambda study: study.patient["patientname"]),
        ("PatientID", patient_id, "*", matches_id, lambda study: study.patient["patientid"]),
        ("StudyDescription", description, "*", matches_description, lambda study: study.columns["studydescription"]),
    )
    for keyword, pattern, letters, matches, value in keys:
        everything = universal(pattern, letters)
        expected = {study.uid for study in STUDIES if everything or matches(pattern.strip(), value(study))}
        assert set(found(odd, "studies", {keyword: pattern}, "0020000D")) == expected, (keyword, pattern)


range_ends = st.sampled_from([None, *filter(None, DATES), date(2023, 1, 1)])
time_ends = st.sampled_from([None, *filter(None, TIMES), time(12)])


@always
@given(days=st.tuples(range_ends, range_ends), times=st.tuples(time_ends, time_ends))
def test_ranges_match_as_in_the_model(
    odd: FlaskClient, tables: IndexKind, days: tuple[date | None, date | None], times: tuple[time | None, time | None]
) -> None:
    """PS3.4 Section C.2.2.2.5, one after the other and combined.

    In AWS's tables an unknown time may be any. In own tables only all of its day tells that it matches.
    """
    may_be_any = tables is IndexKind.LEGACY
    day = "-".join(f"{end:%Y%m%d}" if end else "" for end in days)
    clock = "-".join(f"{end:%H%M%S}" if end else "" for end in times)
    parameters = {key: text for key, text in (("StudyDate", day), ("StudyTime", clock)) if text != "-"}
    combined = len(parameters) == 2 and days[0] != days[1] and all(d or not t for d, t in zip(days, times, strict=True))

    def in_days(study: Study) -> bool:
        at = study.columns["studydate"]
        return "StudyDate" not in parameters or (
            at is not None and (days[0] or date.min) <= at <= (days[1] or date.max)
        )

    def in_times(study: Study) -> bool:
        at = study.columns["studytime"]
        first, last = times[0] or time.min, times[1] or time.max
        over_midnight = bool(times[0] and times[1] and first > last)
        if at is None:
            return may_be_any or "StudyTime" not in parameters
        return bool(at >= first or at <= last if over_midnight else first <= at <= last)

    def in_period(study: Study) -> bool:
        at, clock = study.columns["studydate"], study.columns["studytime"]
        if clock is None:
            known = [
                ends for ends in zip(days, times, (time.min, time(23, 59, 59)), strict=True) if ends[0] and ends[1]
            ]
            return may_be_any or not any(at == day and edge != whole for day, edge, whole in known)
        after = not (days[0] and times[0] and at == days[0]) or clock >= times[0]
        before = not (days[1] and times[1] and at == days[1]) or clock <= times[1]
        return after and before

    expected = {
        study.uid for study in STUDIES if in_days(study) and (in_period(study) if combined else in_times(study))
    }
    assert set(found(odd, "studies", parameters, "0020000D")) == expected


@always
@given(
    modalities=st.lists(st.sampled_from(["CT", "MR", "?R", "C*", "None", "N*", "ct"]), min_size=1, max_size=2),
    number=st.sampled_from(["", "1", "2", "002", "10", "-1", "0", "+2"]),
)
def test_series_match_and_are_ordered_as_in_the_model(odd: FlaskClient, modalities: list[str], number: str) -> None:
    """PS3.4 Section C.2.2.2.1: IS as numbers; PS3.4 Section C.3.4: ModalitiesInStudy by any of the series."""

    def has(series: Series) -> bool:
        text = known(series.columns["modality"])
        return text is not None and any(matches_text(pattern, text) for pattern in modalities)

    def numbered(series: Series) -> int | None:
        text = (series.columns["seriesnumber"] or "").strip()
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else None

    newest = sorted(
        enumerate(STUDIES),
        key=lambda at: (at[1].columns["studydate"] or date.min, _rank(at[1].columns["studytime"]), at[0]),
        reverse=True,
    )
    expected = [
        series.uid
        for _, study in newest
        if any(map(has, study.series))
        for _, _, series in sorted(
            ((numbered(series) is None, numbered(series) or 0, series) for series in study.series),
            key=lambda at: at[:2],
        )
        if not number or numbered(series) == int(number)
    ]
    parameters = {"ModalitiesInStudy": ",".join(modalities), "SeriesNumber": number}
    assert found(odd, "series", parameters, "0020000E") == expected


keys = st.one_of(
    st.tuples(st.sampled_from(["PatientName", "PatientID", "StudyDescription", "StudyID"]), patterns),
    st.tuples(st.just("ModalitiesInStudy"), st.sampled_from(["CT", "?R", "C*,SR", "None", "ct", '""'])),
    st.tuples(st.just("StudyDate"), st.sampled_from(["20240101", "20240102-", "-20240101", "20240101-20240229"])),
    st.tuples(st.just("StudyTime"), st.sampled_from(["10", "1030-", "-103014", "2200-10", "103015.000"])),
)
ways = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["fuzzymatching", "emptyvaluematching", "multiplevaluematching"], st.just("true"))
)


@pytest.fixture(scope="module")
def everything(odd: FlaskClient) -> list[DataSet]:
    found: list[DataSet] = odd.get("/aetitle/studies?includefield=StudyDescription").get_json(force=True)
    return found


@settings(parent=always, max_examples=80)
@given(parameters=st.lists(keys, max_size=3).map(dict), ways=ways)
def test_data_sets_match_as_the_index_does(
    odd: FlaskClient, tables: IndexKind, everything: list[DataSet], parameters: dict[str, str], ways: dict[str, str]
) -> None:
    """The rules are written twice, in SQL and for data sets. In AWS's tables a time that was lost matches any range."""
    asked = {**parameters, **ways}
    conditions = parse_query(asked.items(), Level.STUDY, max_results=1000).conditions
    certain = "StudyTime" not in parameters or tables is IndexKind.OWN
    timed = [one for one in everything if certain or "Value" in one["00080030"]]
    expected = {one["0020000D"]["Value"][0] for one in timed if fulfils(one, conditions)}
    known = {one["0020000D"]["Value"][0] for one in timed}
    assert set(found(odd, "studies", asked, "0020000D")) & known == expected


def _rank(at: time | None) -> float:
    return -1 if at is None else at.hour * 3600 + at.minute * 60 + at.second


names = st.sampled_from(
    ["PatientName", "00100020", "StudyDate", "StudyTime", "ModalitiesInStudy", "0020000D", "SeriesNumber", "limit",
     "offset", "includefield", "fuzzymatching", "emptyvaluematching", "multiplevaluematching", "Rows", "ContentTime",
     "00400275.00400009", "0010,0010", "SOPClassUID", "orderby", "count",
     "accept"]
) | st.text(max_size=12)  # fmt: skip
hostile = st.sampled_from(
    ["' OR 1=1 --", "%", "\\", "'", '"', '""', "*" * 50, "?*" * 90, "[" * 150, "Ö" * 200, "1" * 30, "1.2,1.3\\1.4", "-",
     "20240101-", "\U0001f600", "山" * 64, "9" * 5000, "-2147483648", "\ufffd", "^*" * 90, "=" * 60, "None", ")",
     "-StudyDate,PatientName", "true"]
)  # fmt: skip
resources = st.sampled_from(
    [
        "patients",
        "studies",
        "studies/count",
        "series",
        "instances",
        "studies/1.1/series",
        "studies/1.1/instances",
        "studies/1.1/series/1.1.1/instances",
    ]
)


visible = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=15)
headers = st.dictionaries(
    st.sampled_from(["Accept", "Accept-Encoding", "If-None-Match", "Range"]),
    st.sampled_from(["*", "*/*", "gzip", "zstd;q=0.1, *", "gzip;q=x", 'W/"', '"",,', "bytes=0-", "text/csv"]) | visible,
)


@settings(parent=always, max_examples=100)
@given(
    resource=resources,
    parameters=st.lists(st.tuples(names, hostile | st.text(max_size=20)), max_size=4),
    headers=headers,
)
def test_no_parameters_and_headers_break_a_search(
    odd: FlaskClient, resource: str, parameters: list[tuple[str, str]], headers: dict[str, str]
) -> None:
    text = "&".join(f"{quote(name, errors='replace')}={quote(value, errors='replace')}" for name, value in parameters)
    response = odd.get(f"/aetitle/{resource}?{text}", headers=headers)
    assert response.status_code in (200, 304, 400, 404, 406), response.get_data(as_text=True)


MODELLED: dict[str, tuple[Callable[[str, str | None], bool], Callable[[Study], str | None]]] = {
    "PatientName": (matches_name, lambda study: study.patient["patientname"]),
    "00100020": (matches_id, lambda study: study.patient["patientid"]),
    "StudyDescription": (matches_description, lambda study: study.columns["studydescription"]),
    "studyid": (matches_id, lambda study: known(study.columns["studyid"])),
    "StudyInstanceUID": (lambda uids, uid: uid in re.split(r"[,\\\\]", uids), lambda study: study.uid),
}
modelled = st.tuples(
    st.sampled_from(sorted(MODELLED)), hostile | patterns | st.sampled_from(["1.1", "1.1,1.7", "1.9\\1.8"])
)
noise = st.sampled_from([("limit", "7"), ("offset", "2"), ("Unheard", "x"), ("orderby", "-StudyDate"), ("", "1=1")])


@settings(parent=always, max_examples=100)
@given(parameters=st.lists(modelled | noise, max_size=4))
def test_no_parameters_find_more_than_the_model(odd: FlaskClient, parameters: list[tuple[str, str]]) -> None:
    """A key twice means any of its values; pages are parts of the whole."""
    response = odd.get(f"/aetitle/studies?{urlencode(parameters)}")
    assert response.status_code in (200, 400), response.get_data(as_text=True)
    if response.status_code == 400:
        return
    allowed = {study.uid for study in STUDIES}
    for key, (matches, value) in MODELLED.items():
        wanted = [text.strip() for name, text in parameters if name == key]
        if wanted and not any(map(universal, wanted)):
            allowed &= {study.uid for study in STUDIES if any(matches(text, value(study)) for text in wanted)}
    uids = [result["0020000D"]["Value"][0] for result in response.get_json(force=True)]
    paged = {name for name, _ in parameters} & {"limit", "offset"}
    assert set(uids) <= allowed if paged else set(uids) == allowed
    assert len(set(uids)) == len(uids) <= (7 if "limit" in paged else len(STUDIES))


@settings(parent=always, max_examples=60)
@given(raw=st.binary(max_size=40))
def test_no_query_string_breaks_a_search(odd: FlaskClient, raw: bytes) -> None:
    text = raw.replace(b"#", b"").decode("latin-1")
    response = odd.get("/aetitle/studies", environ_overrides={"QUERY_STRING": text})
    assert response.status_code in (200, 400), response.get_data(as_text=True)

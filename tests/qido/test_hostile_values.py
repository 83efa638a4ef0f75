"""No text in any attribute makes a search fail: it matches or not, or is 400; and the index is never called away."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.engine import Database
from db.schema import metadata
from qido.parse.attributes import ATTRIBUTES, Level, Matching
from tests.qido.archive import Series, Study, client, write
from tests.servers import MariaDb

ANY = Study("1.2", {"patientid": "P", "patientname": "DOE^J"}, {"studyid": "S"}, (Series("1.2.3", {"modality": "CT"}),))
SEARCHABLE = [attribute for attribute in ATTRIBUTES if attribute.matching is not Matching.NONE]
LEVELS = {Level.PATIENT: "patients", Level.STUDY: "studies", Level.SERIES: "series", Level.INSTANCE: "instances"}

ODD = (
    "\0", "\ud83d", "\udc00\ud800", "\N{GRINNING FACE}", "\N{GRINNING FACE}*", "\U0010ffff", "\uffff", "\u2028",
    "(", "[", "[]", "[^", "{1000}", "(?", "\\", "\\\\", "'", '"', "%", "_", "!", "!%", "--", ";", "/*", "*?*?*?",
    "?" * 200, "*a" * 100, "a*" * 100, "=", "^", "^^^^^", "====", "2147483648", "9" * 12, "-1", "1e999", "nan", "inf",
    "00000000", "99999999", "-", "--", "000000", "240000", "\u0130", "\u00df", "\ufb01", "e\u0301", "\u0301", "\u202e",
    "\u0660", "\u00b2", "\xa0", "a" * 256, "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 256, "1." * 32, "None", "NO_PID", "''",
    '""', ":name", "%s", "%(x)s", "@x",
)  # fmt: skip

texts = st.one_of(
    st.sampled_from(ODD),
    st.text(st.characters(), max_size=210),
    st.text(st.sampled_from("*?^=\\ []()!%_'\"-,.a\N{GRINNING FACE}\xe9\0"), max_size=64),
    st.lists(st.sampled_from(ODD), max_size=40).map("\\".join),
)


def asked(text: str) -> str:
    """As a client sends it; halves of surrogate pairs become three bytes that are no UTF-8."""
    return quote(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("attribute", SEARCHABLE, ids=lambda attribute: attribute.keyword)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts, fuzzy=st.booleans(), lists=st.booleans())
def test_any_text_in_any_attribute(
    archive: FlaskClient, sample: Database, attribute: object, text: str, fuzzy: bool, lists: bool
) -> None:
    ask(archive, sample, attribute, text, fuzzy=fuzzy, lists=lists)


@pytest.mark.parametrize("attribute", SEARCHABLE, ids=lambda attribute: attribute.keyword)
@pytest.mark.slow
def test_odd_texts_in_any_attribute(archive: FlaskClient, sample: Database, attribute: object) -> None:
    for text in ODD:
        ask(archive, sample, attribute, text, fuzzy=False, lists=True)


@pytest.fixture(scope="module", params=["latin1", "utf8mb3"])
def narrow(request: pytest.FixtureRequest, mariadb: MariaDb) -> Iterator[Database]:
    """An index whose columns cannot hold every character."""
    url = mariadb.new_index()
    name = url.rpartition("/")[2].partition("?")[0]
    converted = f"CONVERT TO CHARACTER SET {request.param}"
    mariadb.execute(
        "SET SESSION foreign_key_checks = 0",
        *(f"ALTER TABLE {name}.{table} {converted}" for table in metadata.tables),
    )
    write(url, [ANY])
    database = Database(url)
    yield database
    database.close()


@pytest.mark.parametrize("attribute", SEARCHABLE, ids=lambda attribute: attribute.keyword)
def test_odd_texts_in_columns_of_few_characters(narrow: Database, attribute: object) -> None:
    searching = client(narrow)
    for text in ODD:
        ask(searching, narrow, attribute, text, fuzzy=False, lists=True)


def ask(searching: FlaskClient, database: Database, attribute: object, text: str, *, fuzzy: bool, lists: bool) -> None:
    path = LEVELS[attribute.level]  # type: ignore[attr-defined]
    options = f"fuzzymatching={str(fuzzy).lower()}&multiplevaluematching={str(lists).lower()}"
    answer = searching.get(f"/aetitle/{path}?{options}&{attribute.keyword}={asked(text)}")  # type: ignore[attr-defined]
    assert answer.status_code in (200, 204, 400), (text, answer.get_data(as_text=True))
    assert not database._outage._since

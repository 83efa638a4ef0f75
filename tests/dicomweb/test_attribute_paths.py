"""Attributes named by text, wherever it stands, and parts of data sets by paths."""

import json
from collections.abc import Callable

import pytest

from app.ae_titles import parse_scope
from dicomweb.attribute_paths import MAX_TAGS, Path, parse_bulk_path, parse_path, path_name, private_tag, select
from dicomweb.dicom_json import DataSet
from dicomweb.errors import BadRequest
from qido.image_sets.row_filters import AttributeFilter, parse_filter
from qido.parse.attributes import Level
from qido.parse.query import parse_query
from wado.metadata.fields import Fields

STEP, PROCEDURE, REQUESTS, AGE = "00400009", "00401001", "00400275", "00101010"
ITEMS: list[DataSet] = [
    {STEP: {"vr": "SH", "Value": ["S1"]}, PROCEDURE: {"vr": "SH", "Value": ["P1"]}},
    {PROCEDURE: {"vr": "SH"}},
]
DATA_SET: DataSet = {AGE: {"vr": "AS", "Value": ["050Y"]}, REQUESTS: {"vr": "SQ", "Value": ITEMS}}
STEPS_ONLY = {"vr": "SQ", "Value": [{STEP: ITEMS[0][STEP]}, {}]}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([(AGE,)], {AGE: DATA_SET[AGE]}),
        ([(REQUESTS,), (AGE,)], DATA_SET),
        ([(REQUESTS, STEP)], {REQUESTS: STEPS_ONLY}),
        ([(REQUESTS, STEP), (REQUESTS, PROCEDURE)], {REQUESTS: DATA_SET[REQUESTS]}),
        ([(REQUESTS,), (REQUESTS, STEP)], {REQUESTS: DATA_SET[REQUESTS]}),
        ([("00100010",), (AGE, STEP)], {AGE: {"vr": "AS", "Value": []}}),
        ([], {}),
    ],
)
def test_paths_select_what_they_lead_to(paths: list[Path], expected: DataSet) -> None:
    assert select(DATA_SET, paths) == expected


@pytest.mark.parametrize(
    ("creator", "found"), [("ACME", "00191101"), ("OTHER", "00191001"), ("NOBODY", None)]
)  # fmt: skip
def test_a_private_element_is_found_in_the_block_of_its_creator(creator: str, found: str | None) -> None:
    """PS3.5 Section 7.8.1."""
    data_set = {"00190010": {"vr": "LO", "Value": ["OTHER"]}, "00190011": {"vr": "LO", "Value": ["ACME"]}}
    assert private_tag(data_set, "00191001", creator) == found


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("PatientID", ("00100020",)),
        ("patientid", ("00100020",)),
        ("PATIENTID", ("00100020",)),
        ("00100020", ("00100020",)),
        ("0020000d", ("0020000D",)),
        ("OverlayData", ("60003000",)),
        ("fffcfffc", ("FFFCFFFC",)),
        ("00191001", ("00191001",)),
        ("RequestAttributesSequence.00400009", ("00400275", "00400009")),
        ("00400275.scheduledprocedurestepid", ("00400275", "00400009")),
        (".".join(["00400275"] * MAX_TAGS), ("00400275",) * MAX_TAGS),
    ],
)
def test_a_text_names_an_attribute_in_either_case(text: str, path: Path) -> None:
    assert parse_path(text) == path
    assert parse_path(path_name(path)) == path


NO_ATTRIBUTES = [
    "",
    ".",
    "Nonsense",
    "0010002",
    "001000200",
    "0010002G",
    "00400275.",
    ".00400009",
    "\u0661" * 8,
    "a" * 99,
]


@pytest.mark.parametrize("text", NO_ATTRIBUTES)
def test_what_is_no_attribute_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_path(text, "includefield")
    assert str(refused.value).startswith(f"includefield: {text[:64]} is not an attribute: a keyword, a tag of 8")


def _search(**parameters: str) -> tuple[Path, ...]:
    query = parse_query(parameters.items(), Level.STUDY, max_results=1)
    return (
        *(one.attribute.path for one in query.order),
        *(key.path for condition in query.conditions for key in condition.keys),
        *(attribute.path for attribute in query.returned if attribute.keyword == "StudyDescription"),
    )


def _metadata(parameter: str) -> Callable[[str], tuple[Path, ...]]:
    def read(text: str) -> tuple[Path, ...]:
        fields = Fields.from_parameters([(parameter, text)])
        return (fields.included or ()) if parameter == "includefield" else fields.excluded

    return read


def _access_rule(text: str) -> tuple[Path, ...]:
    """AE titles, access rules and roles have their filters read by this."""
    scope = parse_scope("x", json.loads(json.dumps({"filter": {text: "A"}})))
    return tuple(one.attribute.path for one in scope.filters if isinstance(one, AttributeFilter))


NAMED_BY = {
    "includefield of a search": lambda text: _search(includefield=text),
    "orderby": lambda text: _search(orderby=text),
    "orderby, descending": lambda text: _search(orderby=f"-{text}"),
    "includefield of metadata": _metadata("includefield"),
    "excludefield of metadata": _metadata("excludefield"),
    "a row filter": lambda text: (parse_filter(text, ["A"]).attribute.path,),
    "an access rule": _access_rule,
}
"""All that reads the name of an attribute from a text, beside match keys and the paths of bulk values."""


@pytest.mark.parametrize("source", NAMED_BY)
def test_all_that_names_attributes_reads_them_alike(source: str) -> None:
    named = {text: NAMED_BY[source](text) for text in ("StudyDescription", "studydescription", "00081030")}
    assert named == dict.fromkeys(named, (("00081030",),))


@pytest.mark.parametrize("source", NAMED_BY)
@pytest.mark.parametrize("text", [text for text in NO_ATTRIBUTES if text])
def test_all_that_names_attributes_refuses_the_same_with_the_same_words(source: str, text: str) -> None:
    with pytest.raises((BadRequest, ValueError), match="is not an attribute: a keyword, a tag of 8 hex"):
        NAMED_BY[source](text)


@pytest.mark.parametrize("source", NAMED_BY)
def test_no_path_is_deeper_than_another(source: str) -> None:
    with pytest.raises((BadRequest, ValueError), match=f"at most {MAX_TAGS} tags"):
        NAMED_BY[source](".".join(["00400275"] * (MAX_TAGS + 1)))


@pytest.mark.parametrize("text", ["StudyDescription", "studydescription", "00081030"])
def test_a_match_key_is_named_like_all_others(text: str) -> None:
    assert set(_search(**{text: "A"})) == {("00081030",)}


def test_a_parameter_that_is_no_match_key_is_ignored_unless_it_is_nearly_a_tag() -> None:
    """PS3.18 Section 8.3."""
    assert _search(Nonsense="A", x="B") == ()
    for text in ("0010002", "001000200", "00400275.0040009"):
        with pytest.raises(BadRequest, match="is not an attribute: a keyword, a tag of 8"):
            _search(**{text: "A"})


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("7fe00010", "7FE00010"),
        ("EncapsulatedDocument", "00420011"),
        ("004008ea/1/00420011", "004008EA/1/00420011"),
        ("nonsense/x", "nonsense/x"),
        ("", ""),
    ],
)
def test_the_path_of_a_bulk_value_is_read_in_either_case(text: str, path: str) -> None:
    assert parse_bulk_path(text) == path

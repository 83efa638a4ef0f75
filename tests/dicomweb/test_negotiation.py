"""Accept values as clients write them become media ranges, best first, and are held against offers."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb.errors import BadRequest, NotAcceptable
from dicomweb.negotiation import ANYTHING, MAX_RANGES, Accept, Offer, offered_types, parse_accept, parse_names
from dicomweb.negotiation import MediaRange as R
from dicomweb.transfer_syntax import FrameEncoding
from tests.growth import grows_linearly

OCTETS = "application/octet-stream"
J2K = "1.2.840.10008.1.2.4.90"
RPCL = "1.2.840.10008.1.2.4.202"
ELE = "1.2.840.10008.1.2.1"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, ANYTHING),
        ("", ANYTHING),
        ("*/*", ANYTHING),
        ("application/dicom+json, application/json",
         (R("application/dicom+json", False, None, 1), R("application/json", False, None, 1))),
        ('multipart/related; type="application/octet-stream"; transfer-syntax="*"', (R(OCTETS, True, "*", 1),)),
        ("multipart/related; type=application/octet-stream; transfer-syntax=*", (R(OCTETS, True, "*", 1),)),
        ("multipart/related; type=application/octet-stream; transfer-syntax=*; transfer-syntax=*",
         (R(OCTETS, True, "*", 1),)),
        ('multipart/related; type="*/*"', (R("*/*", True, None, 1),)),
        ("multipart/related", (R("*/*", True, None, 1),)),
        (f"multipart/related; type=image/jphc; transfer-syntax={RPCL},*/*",
         (R("image/jphc", True, RPCL, 1), R("*/*", None, None, 1))),
        (f'multipart/related; type="image/jhc"; transfer-syntax={RPCL}', (R("image/jphc", True, RPCL, 1),)),
        (f'multipart/related; type="image/jpeg", multipart/related; type="image/jp2"; transfer-syntax={J2K}',
         (R("image/jpeg", True, None, 1), R("image/jp2", True, J2K, 1))),
        ('multipart/related;type="application/dicom";transfer-syntax=*', (R("application/dicom", True, "*", 1),)),
        ('multipart/related; type="application/dicom"; transfer-syntax=*;',
         (R("application/dicom", True, "*", 1),)),
        ('multipart/related; transfer-syntax=1.2.840.10008.1.2.1; type="application/dicom"',
         (R("application/dicom", True, "1.2.840.10008.1.2.1", 1),)),
        ("MULTIPART/Related; TYPE=Application/DICOM", (R("application/dicom", True, None, 1),)),
        ("image/png;q=0.5, image/jpeg", (R("image/jpeg", False, None, 1), R("image/png", False, None, 0.5))),
        ("*/*, image/*, image/png",
         (R("image/png", False, None, 1), R("image/*", False, None, 1), R("*/*", None, None, 1))),
        ("image/png;q=0", ()),
        ("image/png;q=0, image/*", (R("image/*", False, None, 1, frozenset({"image/png"})),)),
        ("*/*;q=0, image/png", (R("image/png", False, None, 1),)),
        ("multipart/*", (R("*/*", True, None, 1),)),
        (f'multipart/related; type="image/jp2; transfer-syntax={J2K}"', (R("image/jp2", True, J2K, 1),)),
        (f'multipart/related; type="image/jp2;transfer-syntax=x"; transfer-syntax={J2K}',
         (R("image/jp2", True, J2K, 1),)),
        ('multipart/related; type="image/jp2; q=0"', (R("image/jp2", True, None, 1),)),
        ("multipart/related; type='application/octet-stream'", (R(OCTETS, True, None, 1),)),
        ("multipart/related; type=*", (R("*/*", True, None, 1),)),
        ("application/dicom;x=\"a,b;c\";transfer-syntax=*", (R("application/dicom", False, "*", 1),)),
    ],
)  # fmt: skip
def test_an_accept_value_becomes_ranges(header: str | None, expected: tuple[R, ...]) -> None:
    assert parse_accept(header) == expected


def test_a_browser_takes_anything_last() -> None:
    header = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
    ranges = parse_accept(header)
    assert len(ranges) == 6
    assert ranges[-1] == R("*/*", None, None, 0.8)


@pytest.mark.parametrize(
    "garbage", ["*******/*", "*/**;q=0, */*", ",", ";;;", '"', 'a"b', "a/b;", "q=1", '*/*;q="', "\\", 'a/b;c="d,e/f']
)
def test_garbage_never_raises(garbage: str) -> None:
    assert not any(found.covers("image/") for found in parse_accept(garbage) if found.specificity == 2)


@pytest.mark.parametrize("unit", ['"', '\\"', 'a/b;c="', "a/b;", "a/b; c=d;", "a/b;c = ", ";", " ", "a/", "/"])
def test_the_time_for_a_value_grows_with_its_length(unit: str) -> None:
    grows_linearly(lambda length: lambda: parse_accept.__wrapped__('a/b, "' + unit * (length // len(unit))), 2**15)


def test_the_number_of_media_types_is_bounded() -> None:
    assert len(parse_accept(",".join(["a/b"] * MAX_RANGES))) == MAX_RANGES
    with pytest.raises(BadRequest):
        parse_accept(",".join(["a/b"] * (MAX_RANGES + 1)))


ROOT = Path(__file__).parents[2]
METADATA = (Offer("application/dicom+json"), Offer("application/dicom+xml"))
FRAMES = (Offer(OCTETS, ELE), Offer("image/jphc", RPCL, FrameEncoding.STORED))


@pytest.mark.parametrize(
    ("query", "header", "expected"),
    [
        pytest.param(b"", None, OCTETS, id="neither"),
        pytest.param(b"accept=image/jphc", OCTETS, "image/jphc", id="the parameter comes first"),
        pytest.param(b"accept=image/png", "image/jphc", "image/jphc", id="the header, if no parameter fits"),
        pytest.param(b"accept=", "image/jphc", "image/jphc", id="an empty parameter is none"),
        pytest.param(b"accept=+", "image/jphc", "image/jphc", id="nor is a blank one"),
        pytest.param(b"accept=image/png&accept=image/jphc", OCTETS, "image/jphc", id="twice"),
        pytest.param(b"accept=" + OCTETS.encode() + b"&transfer-syntax=*", None, "image/jphc", id="transfer syntax"),
        pytest.param(b"transfer-syntax=*", OCTETS, OCTETS, id="which is not for the header"),
        pytest.param(b"Accept=image/jphc", OCTETS, OCTETS, id="names are in lower case"),
    ],
)
def test_a_request_accepts_what_its_parameters_and_then_its_header_name(
    query: bytes, header: str | None, expected: str
) -> None:
    assert Accept.from_request(query, header).choose(FRAMES, single=True).offer.media_type == expected


@pytest.mark.parametrize("accepted", [b"dicom+json", b"dicom%2Bjson", b"dicom json"])
def test_a_plus_may_be_written_as_it_is(accepted: bytes) -> None:
    accept = Accept.from_request(b"accept=application/" + accepted, "application/dicom+xml")
    assert accept.choose(METADATA, single=True).offer.media_type == "application/dicom+json"


@pytest.mark.parametrize("syntax", ["*", ELE, "1.2.3"])
def test_a_type_that_carries_no_transfer_syntax_ignores_the_parameter(syntax: str) -> None:
    for accept in (
        Accept.from_values((), f"application/dicom+json; transfer-syntax={syntax}"),
        Accept.from_values(("application/dicom+json",), None, syntax),
    ):
        assert accept.choose(METADATA, single=True).offer.media_type == "application/dicom+json"


def test_octets_in_any_syntax_are_frames_and_not_a_data_set_in_xml() -> None:
    header = "multipart/related; type=application/octet-stream; transfer-syntax=*, application/dicom+json"
    chosen = Accept.from_values((), header).choose(METADATA, single=True, multipart=False)
    assert chosen.offer.media_type == "application/dicom+json"
    with pytest.raises(NotAcceptable):
        Accept.from_values((), "image/jphc; transfer-syntax=1.2.3").choose(FRAMES, single=True)


@pytest.mark.parametrize(
    ("offers", "single", "multipart", "expected"),
    [
        (METADATA, True, False, ["application/dicom+json", 'multipart/related; type="application/dicom+xml"']),
        (
            FRAMES[1:],
            True,
            True,
            [f'multipart/related; type="image/jphc"; transfer-syntax={RPCL}', f"image/jphc; transfer-syntax={RPCL}"],
        ),
        ((Offer("application/zip", ELE),), False, True, [f"application/zip; transfer-syntax={ELE}"]),
    ],
)
def test_what_is_offered_is_accepted_and_is_what_a_refusal_names(
    offers: Sequence[Offer], single: bool, multipart: bool, expected: list[str]
) -> None:
    types = offered_types(offers, single=single, multipart=multipart)
    assert types == expected
    for one in types:
        assert Accept.from_values((), one).find(offers, single=single, multipart=multipart)
    with pytest.raises(NotAcceptable, match=re.escape(", ".join(expected))):
        Accept.from_values((), "text/html").choose(offers, single=single, multipart=multipart)


TYPES = ["image/jphc", "*/*", "image/*", "multipart/related"]
WORDS = st.sampled_from([*TYPES, ";", ",", "q=", "0", "1", '"', "type=", "=", " "])


@given(st.lists(WORDS, max_size=12).map("".join), st.lists(WORDS, max_size=12).map("".join))
def test_any_request_gets_an_offer_or_a_refusal(accepted: str, header: str) -> None:
    chosen = Accept.from_values((accepted,), header).find(FRAMES, single=True)
    assert chosen is None or chosen.offer in FRAMES
    assert all(0 < one.quality <= 1 for one in (*parse_accept(accepted), *parse_accept(header)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", ["a"]),
        ("a;q=0.5, B;q=0.8, c", ["c", "b", "a"]),
        ("a;q=0", []),
        ("a;q=x", ["a"]),
        ("a;q=7, b", ["a", "b"]),
        ("a; x=y; Q=0.1, b;q=0.2", ["b", "a"]),
    ],
)
def test_names_come_best_first(text: str, expected: list[str]) -> None:
    assert parse_names(text) == expected


def test_only_one_module_reads_what_a_client_accepts() -> None:
    """Of the name of the parameter, of media ranges and of q values no other module of the service knows."""
    folders = ("app", "qido", "wado", "ahi", "db", "dicomweb")
    modules = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if path.name != "negotiation.py"]
    pattern = re.compile(r"""== ?["']accept["']|args(\.get\(|\[)["']accept["']|== ?["']q["']|MediaRange\(""")
    assert not [path for path in modules if pattern.search(path.read_text())]

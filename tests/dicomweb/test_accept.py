"""Accept values as clients write them become media ranges, best first."""

import pytest

from dicomweb.accept import ANYTHING, MOST_RANGES, parse_accept
from dicomweb.accept import MediaRange as R
from dicomweb.errors import BadRequest
from tests.growth import grows_linearly

OCTETS = "application/octet-stream"
J2K = "1.2.840.10008.1.2.4.90"
RPCL = "1.2.840.10008.1.2.4.202"


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
    assert len(parse_accept(",".join(["a/b"] * MOST_RANGES))) == MOST_RANGES
    with pytest.raises(BadRequest):
        parse_accept(",".join(["a/b"] * (MOST_RANGES + 1)))

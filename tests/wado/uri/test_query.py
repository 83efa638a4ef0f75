"""The parameters of the URI service (PS3.18 Section 9.4.1), well-formed and not."""

import pytest

from ahi.codecs.pixel_format import PixelFormat
from dicomweb.errors import BadRequest, NotAcceptable
from wado.rendering.parameters import parse_rendering
from wado.representation import RENDERED_OFFERS, InstanceKind
from wado.target import Target
from wado.uri.query import UriQuery
from wado.uri.rendering import UriRendering

MANDATORY = {"requestType": "WADO", "studyUID": "1.2", "seriesUID": "1.3", "objectUID": "1.4"}
RPCL = "1.2.840.10008.1.2.4.202"
ELE = "1.2.840.10008.1.2.1"
MULTIPART = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
BROWSER = "text/html,application/xhtml+xml,image/avif,*/*;q=0.8"


def parsed(**parameters: str) -> UriQuery:
    return UriQuery.from_parameters({**MANDATORY, **parameters}.items())


def test_the_object_is_named_by_three_uids() -> None:
    assert parsed().target == Target("1.2", "1.3", "1.4")


@pytest.mark.parametrize(
    "parameters",
    [
        {"requestType": ""},
        {"requestType": "wado"},
        {"studyUID": ""},
        {"seriesUID": "1.2/3"},
        {"objectUID": "1.2\\3"},
        {"anonymize": "yes"},
        {"transferSyntax": "1.2.840.10008.1.2"},
        {"transferSyntax": "1.2.840.10008.1.2.2"},
        {"transferSyntax": "JPEG"},
        {"frameNumber": "0"},
        {"frameNumber": "1,2"},
        {"frameNumber": "one"},
        {"imageQuality": "0"},
        {"imageQuality": "101"},
        {"rows": "0", "columns": "256"},
        {"rows": "-1", "columns": "256"},
        {"rows": "65536", "columns": "256"},
        {"region": "0,0,1"},
        {"region": "0,0,1,2"},
        {"region": "0.5,0,0.5,1"},
        {"region": "a,b,c,d"},
        {"region": "nan,0,1,1"},
        {"windowCenter": "40"},
        {"windowWidth": "400"},
        {"windowCenter": "40", "windowWidth": "0"},
        {"windowCenter": "inf", "windowWidth": "400"},
        {"presentationUID": "1.2"},
        {"presentationUID": "1.2", "presentationSeriesUID": "1.3", "windowCenter": "1", "windowWidth": "2"},
        {"annotation": "nurse"},
    ],
)
def test_ill_formed_parameters_are_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        parsed(**parameters)


def test_other_parameters_are_ignored_and_names_are_case_sensitive() -> None:
    assert parsed(FrameNumber="7", x="y", charset="utf-8", anonymize="no", rows="", columns="") == parsed()


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, {}),
        ({"windowCenter": "40", "windowWidth": "400.5"}, {"window": "40,400.5,linear"}),
        ({"rows": "256", "columns": "512"}, {"viewport": "512,256"}),
        ({"rows": "256"}, {"viewport": ",256"}),
        ({"columns": "512"}, {"viewport": "512,"}),
        ({"region": "0,0,1,1", "rows": "10"}, {"viewport": ",10,0,0,200,200"}),
        ({"region": "0,0.25,0.5,1"}, {"viewport": "100,150,0,50,100,150"}),
        ({"region": "0,0,1,1", "rows": "10", "columns": "20"}, {"viewport": "20,10,0,0,200,200"}),
        ({"imageQuality": "75"}, {"quality": "75"}),
        ({"annotation": "patient, technique"}, {"annotation": "patient,technique"}),
        ({"imageAnnotation": "technique"}, {"annotation": "technique"}),
        ({"presentationUID": "1.2", "presentationSeriesUID": "1.3"}, {}),
    ],
)
def test_rendering_parameters_have_their_like_in_wado_rs(parameters: dict[str, str], expected: dict[str, str]) -> None:
    assert UriRendering.from_values(parameters).for_image(200, 200) == parse_rendering(expected.items())[0]


OFFERS = (*RENDERED_OFFERS, *InstanceKind(RPCL, True, PixelFormat(8, 8, 1, 16, 0, "MONOCHROME2")).files)


@pytest.mark.parametrize(
    ("parameters", "header", "expected"),
    [
        ({}, None, "image/jpeg"),
        ({}, BROWSER, "image/jpeg"),
        ({}, "image/png", "image/png"),
        ({}, MULTIPART, "image/jpeg"),
        ({"contentType": "image/png"}, "image/jpeg", "image/png"),
        ({"contentType": "image/webp,image/png"}, None, "image/png"),
        ({"contentType": "image/jpeg;q=0.5, image/png"}, None, "image/png"),
        ({"contentType": "application/dicom"}, MULTIPART, f"application/dicom; transfer-syntax={ELE}"),
        (
            {"contentType": "application/dicom", "transferSyntax": "*"},
            MULTIPART,
            f"application/dicom; transfer-syntax={RPCL}",
        ),
        (
            {"contentType": "application/dicom", "transferSyntax": RPCL},
            None,
            f"application/dicom; transfer-syntax={RPCL}",
        ),
        ({"contentType": "image/png", "transferSyntax": RPCL}, None, "image/png"),
        ({"transferSyntax": RPCL}, None, f"application/dicom; transfer-syntax={RPCL}"),
        ({"transferSyntax": ELE}, "*/*", f"application/dicom; transfer-syntax={ELE}"),
        ({"transferSyntax": "*"}, None, f"application/dicom; transfer-syntax={RPCL}"),
        ({"contentType": "application/*", "transferSyntax": ELE}, None, f"application/dicom; transfer-syntax={ELE}"),
        ({"transferSyntax": ELE}, "image/png", "image/png"),
    ],
)
def test_the_content_type_decides_then_the_header(
    parameters: dict[str, str], header: str | None, expected: str
) -> None:
    chosen = parsed(**parameters).accept(header).choose(OFFERS, single=True, multipart=False)
    assert chosen.offer.content_type == expected


@pytest.mark.parametrize(
    "parameters",
    [
        {"contentType": "text/html"},
        {"contentType": 'multipart/related; type="application/dicom"'},
        {"contentType": "application/dicom", "transferSyntax": "1.2.840.10008.1.2.4.50"},
        {"transferSyntax": "1.2.840.10008.1.2.4.50"},
    ],
)
def test_what_is_not_offered_is_not_acceptable(parameters: dict[str, str]) -> None:
    with pytest.raises(NotAcceptable):
        parsed(**parameters).accept("*/*").choose(OFFERS, single=True, multipart=False)

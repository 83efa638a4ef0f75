"""What the client accepts, held against what there is (PS3.18 Section 8.7.8), as clients write it."""

import pytest

from dicomweb.errors import NotAcceptable
from wado.representation import METADATA_OFFERS, RENDERED_OFFERS, Accept, frame_offers, instance_offers

ELE = "1.2.840.10008.1.2.1"
RPCL = "1.2.840.10008.1.2.4.202"
J2K = "1.2.840.10008.1.2.4.90"
JPEG = "1.2.840.10008.1.2.4.50"
MP4 = "1.2.840.10008.1.2.4.102"

NATIVE = f"application/octet-stream; transfer-syntax={ELE}"
AS_STORED = f"image/jphc; transfer-syntax={RPCL}"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def choose_frame(accept: str | None, stored: str = RPCL, query: tuple[str, ...] = (), single: bool = True) -> str:
    return Accept.from_request(query, accept).choose(frame_offers(stored), single=single).offer.content_type


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, NATIVE),
        ("*/*", NATIVE),
        (BROWSER, NATIVE),
        ('multipart/related; type="application/octet-stream"; transfer-syntax="*"', AS_STORED),
        ("multipart/related; type=application/octet-stream; transfer-syntax=*", AS_STORED),
        ("multipart/related; type=application/octet-stream; transfer-syntax=*; transfer-syntax=*", AS_STORED),
        ('multipart/related; type="application/octet-stream"', NATIVE),
        ('multipart/related; type="*/*"', NATIVE),
        (f"multipart/related; type=image/jphc; transfer-syntax={RPCL},*/*", AS_STORED),
        (f'multipart/related; type="image/jhc"; transfer-syntax={RPCL}', AS_STORED),
        ("image/jphc", AS_STORED),
        ("image/*", AS_STORED),
        ("application/octet-stream", NATIVE),
        (f"multipart/related; type=application/octet-stream; transfer-syntax={ELE}", NATIVE),
    ],
)
def test_a_frame_is_sent_as_the_client_takes_it(accept: str | None, expected: str) -> None:
    assert choose_frame(accept) == expected


@pytest.mark.parametrize(
    "accept",
    [
        f'multipart/related; type="image/jp2"; transfer-syntax="{J2K}"',
        f'multipart/related; type="image/jpeg", multipart/related; type="image/jp2"; transfer-syntax={J2K}',
        f'multipart/related; type="image/jpeg"; transfer-syntax={JPEG}',
        "text/html",
        "image/png;q=0",
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(accept: str) -> None:
    with pytest.raises(NotAcceptable, match=RPCL):
        choose_frame(accept)


def test_the_accept_parameter_comes_before_the_header() -> None:
    assert choose_frame("application/octet-stream", query=("image/jphc",)) == AS_STORED
    assert choose_frame("application/octet-stream", query=("image/png",)) == NATIVE


def test_a_single_part_is_for_a_single_frame() -> None:
    with pytest.raises(NotAcceptable):
        choose_frame("application/octet-stream", single=False)
    assert choose_frame("application/octet-stream, multipart/related", single=False) == NATIVE


def test_a_video_is_sent_as_it_is() -> None:
    stream = f"video/mp4; transfer-syntax={MP4}"
    assert choose_frame("*/*", MP4) == stream
    assert choose_frame('multipart/related; type="application/octet-stream"', MP4) == stream


@pytest.mark.parametrize(
    ("accept", "syntax", "multipart"),
    [
        (None, ELE, None),
        ('multipart/related; type="application/dicom"', ELE, True),
        ('multipart/related;type="application/dicom";transfer-syntax=*', ELE, True),
        ('multipart/related; type="application/dicom"; transfer-syntax=*;', ELE, True),
        (f'multipart/related; transfer-syntax={ELE}; type="application/dicom"', ELE, True),
        (f'multipart/related; type="application/dicom"; transfer-syntax={RPCL}', RPCL, True),
        ("application/dicom", ELE, False),
        ("application/dicom; transfer-syntax=*", ELE, False),
    ],
)
def test_an_instance_is_explicit_little_endian_unless_asked_otherwise(
    accept: str | None, syntax: str, multipart: bool | None
) -> None:
    chosen = Accept.from_request((), accept).choose(instance_offers(RPCL, has_frames=True), single=True)
    assert (chosen.offer.transfer_syntax_uid, chosen.multipart) == (syntax, multipart)


def test_a_study_has_no_single_part() -> None:
    with pytest.raises(NotAcceptable):
        Accept.from_request((), "application/dicom").choose(instance_offers(RPCL, has_frames=True), single=False)


@pytest.mark.parametrize(
    ("query", "accept"),
    [
        ((), None),
        ((), "application/dicom+json, application/json"),
        ((), "application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*"),
        (("application/dicom json",), "text/html"),
        ((), BROWSER),
    ],
)
def test_metadata_is_dicom_json(query: tuple[str, ...], accept: str | None) -> None:
    chosen = Accept.from_request(query, accept).choose(METADATA_OFFERS, single=True)
    assert chosen.offer.media_type == "application/dicom+json"


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [
        ((), None, "image/jpeg"),
        ((), BROWSER, "image/jpeg"),
        ((), "image/png", "image/png"),
        ((), "image/*", "image/jpeg"),
        (("image/jpeg",), 'multipart/related; type="application/octet-stream"', "image/jpeg"),
    ],
)
def test_a_picture_is_a_jpeg_unless_asked_otherwise(query: tuple[str, ...], accept: str | None, expected: str) -> None:
    chosen = Accept.from_request(query, accept).choose(RENDERED_OFFERS, single=True, multipart=False)
    assert chosen.offer.media_type == expected

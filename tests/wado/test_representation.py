"""What the client accepts, held against what there is (PS3.18 Section 8.7.8), as clients write it."""

from dataclasses import replace

import pytest

from ahi.codecs.frames import HAS_OPENJPH
from ahi.codecs.pixel_format import PixelFormat
from dicomweb.errors import NotAcceptable
from dicomweb.negotiation import Accept, FileChoice
from dicomweb.transfer_syntax import FrameEncoding
from wado.representation import METADATA_OFFERS, RENDERED_OFFERS, InstanceKind, agree, frame_offers, instance_offers

ELE = "1.2.840.10008.1.2.1"
RPCL = "1.2.840.10008.1.2.4.202"
J2K = "1.2.840.10008.1.2.4.90"
JPEG = "1.2.840.10008.1.2.4.50"
MP4 = "1.2.840.10008.1.2.4.102"
HTJ2K = "1.2.840.10008.1.2.4.201"
JPEG_LS = "1.2.840.10008.1.2.4.80"
RLE = "1.2.840.10008.1.2.5"

CT = PixelFormat(512, 512, 1, 16, 1, "MONOCHROME2")
DOSE = PixelFormat(10, 10, 1, 32, 0, "MONOCHROME2")
MASK = PixelFormat(10, 10, 1, 1, 0, "MONOCHROME2")

NATIVE = f"application/octet-stream; transfer-syntax={ELE}"
AS_STORED = f"image/jphc; transfer-syntax={RPCL}"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def choose_frame(accept: str | None, stored: str = RPCL, query: tuple[str, ...] = (), single: bool = True) -> str:
    return Accept.from_values(query, accept).choose(frame_offers(stored), single=single).offer.content_type


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
        (f"multipart/related; type=application/octet-stream; transfer-syntax={RPCL}", AS_STORED),
        ("application/octet-stream;q=0, */*", AS_STORED),
        ("image/jphc;q=0, */*", NATIVE),
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
        "image/jphc;q=0, image/*",
        f"multipart/related; type=application/octet-stream; transfer-syntax={J2K}",
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(accept: str) -> None:
    with pytest.raises(NotAcceptable, match=RPCL):
        choose_frame(accept)


def test_the_accept_parameter_comes_before_the_header() -> None:
    assert choose_frame("application/octet-stream", query=("image/jphc",)) == AS_STORED
    assert choose_frame("application/octet-stream", query=("image/png",)) == NATIVE


@pytest.mark.parametrize(
    ("query", "header", "syntax", "expected"),
    [
        pytest.param(("application/dicom",), None, RPCL, RPCL, id="named"),
        pytest.param(("application/dicom",), None, "*", RPCL, id="any"),
        pytest.param((f"application/dicom; transfer-syntax={ELE}",), None, RPCL, ELE, id="the type's own comes first"),
        pytest.param((), "application/dicom", RPCL, ELE, id="not for the header"),
        pytest.param(("application/dicom",), None, "", ELE, id="empty"),
    ],
)
def test_a_transfer_syntax_in_the_query_is_for_the_types_in_the_query(
    query: tuple[str, ...], header: str | None, syntax: str, expected: str
) -> None:
    """PS3.18 Section 8.7.8."""
    accept = Accept.from_values(query, header, syntax)
    assert accept.choose(instance_offers(RPCL, has_frames=True), single=True).offer.transfer_syntax_uid == expected


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
        ('multipart/related;type="application/dicom";transfer-syntax=*', RPCL, True),
        ('multipart/related; type="application/dicom"; transfer-syntax=*;', RPCL, True),
        (f'multipart/related; transfer-syntax={ELE}; type="application/dicom"', ELE, True),
        (f'multipart/related; type="application/dicom"; transfer-syntax={RPCL}', RPCL, True),
        ("application/dicom", ELE, False),
        ("application/dicom; transfer-syntax=*", RPCL, False),
    ],
)
def test_an_instance_is_explicit_little_endian_unless_asked_otherwise(
    accept: str | None, syntax: str, multipart: bool | None
) -> None:
    chosen = Accept.from_values((), accept).choose(instance_offers(RPCL, has_frames=True), single=True)
    assert (chosen.offer.transfer_syntax_uid, chosen.multipart) == (syntax, multipart)


@pytest.mark.parametrize(
    ("accept", "choice", "syntax"),
    [
        (None, FileChoice(unnamed=FrameEncoding.STORED), RPCL),
        ("*/*", FileChoice(unnamed=FrameEncoding.STORED), RPCL),
        ("multipart/related", FileChoice(unnamed=FrameEncoding.STORED), RPCL),
        ("application/*", FileChoice(unnamed=FrameEncoding.STORED), RPCL),
        ("application/dicom", FileChoice(unnamed=FrameEncoding.STORED), ELE),
        ("application/zip", FileChoice(unnamed=FrameEncoding.STORED), ELE),
        ("application/dicom; transfer-syntax=*", FileChoice(any=FrameEncoding.NATIVE), ELE),
        ("application/zip; transfer-syntax=*", FileChoice(any=FrameEncoding.NATIVE), ELE),
        (f"application/dicom; transfer-syntax={RPCL}", FileChoice(any=FrameEncoding.NATIVE), RPCL),
        ("*/*", FileChoice(any=FrameEncoding.NATIVE), ELE),
    ],
)
def test_the_operator_prefers_where_the_client_leaves_it_open(
    accept: str | None, choice: FileChoice, syntax: str
) -> None:
    accepted = replace(Accept.from_values((), accept), files=choice)
    assert accepted.choose(instance_offers(RPCL, True, CT), single=True).offer.transfer_syntax_uid == syntax
    frame = replace(Accept.from_values((), "*/*"), files=choice).choose(frame_offers(RPCL, CT), single=True)
    assert frame.offer.transfer_syntax_uid == ELE


def test_a_study_has_no_single_part() -> None:
    with pytest.raises(NotAcceptable):
        Accept.from_values((), "application/dicom").choose(instance_offers(RPCL, has_frames=True), single=False)


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
    chosen = Accept.from_values(query, accept).choose(METADATA_OFFERS, single=True)
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
    chosen = Accept.from_values(query, accept).choose(RENDERED_OFFERS, single=True, multipart=False)
    assert chosen.offer.media_type == expected


ENCODED = {HTJ2K, RPCL} if HAS_OPENJPH else set()


@pytest.mark.parametrize(
    ("stored", "pixels", "expected"),
    [
        pytest.param(RPCL, CT, {ELE, RPCL, HTJ2K, J2K, JPEG_LS, RLE}, id="16 bits"),
        pytest.param(J2K, CT, {ELE, J2K, JPEG_LS, RLE} | ENCODED, id="16 bits in JPEG 2000"),
        pytest.param(RPCL, DOSE, {ELE, RPCL, HTJ2K, RLE}, id="32 bits"),
        pytest.param(ELE, MASK, {ELE}, id="one bit"),
        pytest.param(JPEG, CT, {ELE, JPEG}, id="lossy"),
        pytest.param(MP4, None, {MP4}, id="video"),
        pytest.param(RPCL, None, {ELE, RPCL}, id="pixels that nobody describes"),
    ],
)
def test_frames_are_encoded_again_where_nothing_is_lost(
    stored: str, pixels: PixelFormat | None, expected: set[str]
) -> None:
    assert {offer.transfer_syntax_uid for offer in frame_offers(stored, pixels)} == expected


@pytest.mark.parametrize(
    ("accept", "syntax"),
    [
        (None, ELE),
        ("*/*", ELE),
        ("image/*", RPCL),
        ("application/octet-stream; transfer-syntax=*", RPCL),
        ("image/jphc", RPCL),
        (f"image/jphc; transfer-syntax={HTJ2K}", HTJ2K),
        ("image/jls", JPEG_LS),
        ("image/x-jls", JPEG_LS),
        ("image/dicom-rle", RLE),
        ("image/jp2", J2K),
        (f"image/jp2; transfer-syntax={J2K}", J2K),
        (f"image/jls; q=0.5, image/dicom-rle; transfer-syntax={RLE}", RLE),
    ],
)
def test_another_encoding_is_what_one_has_to_ask_for(accept: str | None, syntax: str) -> None:
    chosen = Accept.from_values((), accept).choose(frame_offers(RPCL, CT), single=True)
    assert chosen.offer.transfer_syntax_uid == syntax


def test_binary_pixels_as_stored_are_native() -> None:
    chosen = Accept.from_values((), "application/octet-stream; transfer-syntax=*").choose(
        frame_offers(ELE, DOSE), single=True
    )
    assert chosen.offer.transfer_syntax_uid == ELE


IMAGE = InstanceKind(RPCL, True, CT)
OTHER_IMAGE = InstanceKind(JPEG, True, CT)
FILM = InstanceKind(MP4, True, None)
REPORT = InstanceKind(RPCL, False, None)


@pytest.mark.parametrize(
    ("kinds", "syntax", "expected"),
    [
        pytest.param((IMAGE, REPORT), RPCL, (RPCL, ELE), id="images and a report"),
        pytest.param((REPORT, IMAGE), RLE, (ELE, RLE), id="the report first"),
        pytest.param((REPORT,), RPCL, (ELE,), id="a report alone"),
        pytest.param((IMAGE, OTHER_IMAGE), RPCL, (RPCL, ELE), id="one image cannot"),
        pytest.param((IMAGE, FILM), RLE, (RLE, MP4), id="a video cannot, and has no native form"),
        pytest.param((IMAGE, OTHER_IMAGE, REPORT), "*", (RPCL, JPEG, ELE), id="as stored"),
    ],
)
def test_each_part_has_a_transfer_syntax_of_its_own(
    kinds: tuple[InstanceKind, ...], syntax: str, expected: tuple[str, ...]
) -> None:
    """PS3.18 Section 8.7.8."""
    accept = Accept.from_values((), f'multipart/related; type="application/dicom"; transfer-syntax={syntax}')
    chosen = agree({kind: kind.files for kind in kinds}, accept, single=False)
    assert tuple(chosen[kind].offer.transfer_syntax_uid for kind in kinds) == expected


@pytest.mark.parametrize("kinds", [(OTHER_IMAGE,), (OTHER_IMAGE, REPORT), (FILM, OTHER_IMAGE)])
def test_a_transfer_syntax_that_no_image_can_be_had_in_is_refused(kinds: tuple[InstanceKind, ...]) -> None:
    accept = Accept.from_values((), f'multipart/related; type="application/dicom"; transfer-syntax={RPCL}')
    with pytest.raises(NotAcceptable):
        agree({kind: kind.files for kind in kinds}, accept, single=False)

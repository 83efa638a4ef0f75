"""Whatever is asked for, in whatever spelling: no 5xx, and no label that the bytes do not keep."""

import re
from copy import deepcopy
from io import BytesIO

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian

from dicomweb.transfer_syntax import OLD_SPELLINGS, TRANSFER_SYNTAXES
from tests.service.answers import Part, get
from tests.service.archive import Sample
from tests.service.process import Service

STARTS = {
    "image/jpeg": b"\xff\xd8",
    "image/jls": b"\xff\xd8\xff\xf7",
    "image/dicom-rle": b"\x02\0\0\0",
    "image/png": b"\x89PNG",
    "image/gif": b"GIF8",
    "image/jp2": b"\0\0\0\x0cjP  ",
    "application/zip": b"PK\x03\x04",
    "application/dicom+json": b"[{",
    "application/json": b"[{",
    "application/dicom+xml": b"<?xml",
    "application/problem+json": b"{",
}
"""What is not labelled with a transfer syntax begins like this."""

FRAMES = {syntax.media_type for syntax in TRANSFER_SYNTAXES.values()}
TYPES = sorted(
    {
        *STARTS,
        *FRAMES,
        *OLD_SPELLINGS,
        "application/dicom",
        "*/*",
        "image/*",
        "application/*",
        "text/html",
        "multipart/related",
    }
)
SYNTAXES = sorted({*TRANSFER_SYNTAXES, "*", "1.2.840.10008.1.2", "", "1.2.3"})
VISIBLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)


@st.composite
def accepts(draw: st.DrawFn) -> str:
    """An Accept header of known words, put together well or badly."""
    ranges = []
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.integers(0, 2)) == 0:
            syntax = draw(st.sampled_from(sorted(TRANSFER_SYNTAXES)))
            ranges.append(
                draw(st.sampled_from(["multipart/related; type=", ""])) + TRANSFER_SYNTAXES[syntax].content_type
            )
            continue
        words = [draw(st.sampled_from(TYPES) | VISIBLE)]
        if draw(st.booleans()):
            words.append("type=" + draw(st.sampled_from(["{}", '"{}"', '"{}'])).format(draw(st.sampled_from(TYPES))))
        if draw(st.booleans()):
            words.append(f"transfer-syntax={draw(st.sampled_from(SYNTAXES))}")
        if draw(st.booleans()):
            words.append("q=" + draw(st.sampled_from(["0", "1", "0.5", "x", "-1", "nan", "inf"])))
        ranges.append(draw(st.sampled_from([";", "; ", " ; ", ";;"])).join(words))
    return draw(st.sampled_from([",", ", ", ",,"])).join(ranges).strip()


uid_parts = st.sampled_from(["1.2.3", "", "x", "1..2", "9" * 65, "%00", "..", "1.2.3/", "%E2%82%AC"])
frame_lists = st.sampled_from(["1", "1", "1", "0", "2", "1,1", "1,2", "-1", "", ",", "a", "1%2C", "9" * 30, "%D9%A1"])
ranges = st.sampled_from(["bytes=0-9", "bytes=-1", "bytes=99999999-", "bytes=3-1", "bytes=0-1,5-6", "x", "bytes=-"])
resources = st.sampled_from(
    ["", "/metadata", "/rendered", "/pixeldata", "/bulkdata", "/bulkdata/7FE00010", "/bulkdata/00282000"]
)
levels = st.integers(1, 3)


NAMES = ("studies", "series", "instances")


@st.composite
def requests_made(draw: st.DrawFn) -> tuple[dict[int, str], int, str, dict[str, str]]:
    """UIDs to replace, how many to name, the rest of the path, and headers."""
    wrong = {draw(st.integers(0, 2)): draw(uid_parts)} if draw(st.integers(0, 4)) == 0 else {}
    headers = {"Accept": draw(accepts())}
    if draw(st.booleans()):
        headers["Range"] = draw(ranges)
    if draw(st.booleans()):
        return wrong, 3, "/frames/" + draw(frame_lists) + draw(st.sampled_from(["", "", "/rendered"])), headers
    return wrong, draw(levels), draw(resources), headers


@settings(max_examples=250, deadline=None)
@given(made=requests_made())
def test_nothing_that_is_asked_for_is_answered_with_an_error_of_ours_or_a_wrong_label(
    service: Service, samples: dict[str, Sample], made: tuple[dict[int, str], int, str, dict[str, str]]
) -> None:
    wrong, level, path, headers = made
    uids = [wrong.get(index, uid) for index, uid in enumerate(samples["CT_small.dcm"].uids)]
    url = "".join(f"/{name}/{uid}" for name, uid in zip(NAMES[:level], uids, strict=False)) + path
    answer = get(service.root, url, headers)
    assert answer.status < 500
    if answer.status == 206:
        first, last, _ = map(int, re.findall(r"\d+", answer.headers["Content-Range"]))
        assert answer.body == get(service.root, url, {"Accept": headers["Accept"]}).body[first : last + 1]
        return
    for part in answer.parts:
        _check_label(part, samples["CT_small.dcm"].read())


def _check_label(part: Part, source: Dataset) -> None:
    """The bytes are what their label says: decoded by their transfer syntax, if it names one, they are the source's."""
    media_type, _, syntax = part.content_type.partition("; transfer-syntax=")
    if media_type == "application/dicom":
        received = dcmread(BytesIO(part.body))
        assert received.file_meta.TransferSyntaxUID == syntax
        assert np.array_equal(received.pixel_array, source.pixel_array)
    elif syntax:
        assert TRANSFER_SYNTAXES[syntax].media_type == media_type
        labelled = deepcopy(source)
        labelled.file_meta.TransferSyntaxUID = UID(syntax)
        labelled.PixelData = part.body if syntax == ExplicitVRLittleEndian else encapsulate([part.body])
        assert np.array_equal(pixel_array(labelled), source.pixel_array)
    else:
        assert part.body.startswith(STARTS[media_type])

"""Whatever is asked for, in whatever spelling: no 5xx, and no label that the bytes do not keep."""

from email.parser import BytesParser
from email.policy import HTTP

import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicomweb.transfer_syntax import OLD_SPELLINGS, TRANSFER_SYNTAXES
from tests.service.archive import Sample
from tests.service.process import Service

SESSION = requests.Session()
BYTES = {"application/octet-stream": 32768}  # CT_small.dcm: 128 x 128 pixels of two bytes
STARTS = {
    "image/jphc": b"\xff\x4f\xff\x51",
    "image/jp2": b"\xff\x4f\xff\x51",
    "image/jpeg": b"\xff\xd8",
    "image/jls": b"\xff\xd8\xff\xf7",
    "image/dicom-rle": b"\x02\0\0\0",
    "image/png": b"\x89PNG",
    "application/dicom": bytes(128) + b"DICM",
    "application/zip": b"PK\x03\x04",
    "application/dicom+json": b"[{",
    "application/json": b"[{",
    "application/dicom+xml": b"<?xml",
    "application/problem+json": b"{",
}

TYPES = sorted({*STARTS, *BYTES, *OLD_SPELLINGS, "*/*", "image/*", "application/*", "text/html", "multipart/related"})
SYNTAXES = sorted({*TRANSFER_SYNTAXES, "*", "1.2.840.10008.1.2", "", "1.2.3"})
VISIBLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)


@st.composite
def accepts(draw: st.DrawFn) -> str:
    """An Accept header of known words, put together well or badly."""
    ranges = []
    for _ in range(draw(st.integers(0, 3))):
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


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_nothing_that_is_asked_for_is_answered_with_an_error_of_ours_or_a_wrong_label(
    service: Service, samples: dict[str, Sample], data: st.DataObject
) -> None:
    uids = list(samples["CT_small.dcm"].uids)
    if data.draw(st.integers(0, 4)) == 0:
        uids[data.draw(st.integers(0, 2))] = data.draw(uid_parts)
    names = ("studies", "series", "instances")
    if data.draw(st.booleans()):
        path = "/frames/" + data.draw(frame_lists) + data.draw(st.sampled_from(["", "", "/rendered"]))
        level = 3
    else:
        path, level = data.draw(resources), data.draw(levels)
    url = service.root + "".join(f"/{name}/{uid}" for name, uid in zip(names[:level], uids, strict=False)) + path
    headers = {"Accept": data.draw(accepts())}
    if data.draw(st.booleans()):
        headers["Range"] = data.draw(ranges)
    answer = SESSION.get(url, headers=headers, timeout=30)
    assert answer.status_code < 500
    _check_label(answer.headers["Content-Type"], answer.content, whole=answer.status_code != 206)


def _check_label(content_type: str, body: bytes, *, whole: bool) -> None:
    media_type = content_type.partition(";")[0]
    if media_type == "multipart/related" and whole:
        message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
        assert not message.defects
        parts = list(message.iter_parts())
        assert parts
        for part in parts:
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            _check_label(part["Content-Type"], payload, whole=True)
    elif whole and media_type in BYTES:
        assert len(body) == BYTES[media_type]
    elif whole:
        assert body.startswith(STARTS[media_type])

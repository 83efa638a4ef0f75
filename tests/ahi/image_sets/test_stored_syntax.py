"""A transfer syntax that the metadata does not name is read from a codestream, and never assumed."""

import json
from typing import Any

import imagecodecs
import numpy as np
import pytest

from ahi.codecs.frames import HAS_OPENJPH
from ahi.image_sets.image_set import ImageSet, Instance
from ahi.image_sets.prepared_reader import PreparedImageSet
from ahi.image_sets.prepared_writer import encode_prepared
from ahi.image_sets.stored_syntax import syntax_of
from dicomweb.errors import UpstreamBusy, UpstreamFailed

ARRAY = np.arange(64 * 48, dtype="<u2").reshape(64, 48)
JPEG_2000 = bytes(imagecodecs.jpeg2k_encode(ARRAY, level=0, codecformat="J2K", reversible=True))
JPEG_2000_LOSSY = bytes(imagecodecs.jpeg2k_encode(ARRAY, level=30, codecformat="J2K", reversible=False))
RPCL, LOSSLESS, LOSSY_HTJ2K, J2K, LOSSY_J2K = (f"1.2.840.10008.1.2.4.{end}" for end in (202, 201, 203, 90, 91))
IMAGE = {"Rows": 64, "Columns": 48, "SamplesPerPixel": 1, "BitsAllocated": 16, "PixelRepresentation": 0}
with_openjph = pytest.mark.skipif(not HAS_OPENJPH, reason="no OpenJPH")


def test_jpeg_2000_is_told_from_its_codestream() -> None:
    assert syntax_of(JPEG_2000) == J2K
    assert syntax_of(JPEG_2000_LOSSY) == LOSSY_J2K


@with_openjph
def test_htj2k_is_told_from_its_codestream() -> None:
    stored = bytes(imagecodecs.htj2k_encode(ARRAY, reversible=True, tlm=True, tilepart=1))
    order = stored.index(b"\xff\x52") + 5
    assert syntax_of(stored) == RPCL
    assert syntax_of(stored[:order] + b"\1" + stored[order + 1 :]) == LOSSLESS
    assert syntax_of(bytes(imagecodecs.htj2k_encode(ARRAY, reversible=False, level=0.01))) == LOSSY_HTJ2K


@pytest.mark.parametrize("stored", [b"", b"\xff\x4f\xff\x51", JPEG_2000[:50], b"\xff\xd8\xff\xe0", b"text"])
def test_what_is_no_codestream_tells_nothing(stored: bytes) -> None:
    assert syntax_of(stored) is None


def _image_set(*stated: str | None) -> ImageSet:
    nodes: dict[str, Any] = {
        f"1.2.3.{number}": {
            "DICOM": {**IMAGE, "SOPInstanceUID": f"1.2.3.{number}", "InstanceNumber": number},
            "ImageFrames": [{"ID": f"{number:032}"}],
            **({"StoredTransferSyntaxUID": uid} if uid else {}),
        }
        for number, uid in enumerate(stated)
    }
    document = {"Study": {"DICOM": {"StudyInstanceUID": "1.2"}, "Series": {"1.2.3": {"Instances": nodes}}}}
    return ImageSet.from_metadata(json.dumps(document).encode())


def _syntaxes(image_set: ImageSet, stored: dict[int, bytes | Exception]) -> tuple[list[str], list[str], int]:
    """Those of the instances, those that their metadata offers, and how many frames were looked at."""
    looked = 0

    def probe(instance: Instance, _pixels: object) -> bytes:
        nonlocal looked
        looked += 1
        found = stored[int(instance.frames[0].frame_id)]
        if isinstance(found, Exception):
            raise found
        return found

    prepared = PreparedImageSet.from_bytes(encode_prepared(image_set, probe))
    told = [json.loads(prepared.metadata(one, ""))["00083002"]["Value"][0] for one in prepared.instances]
    return [one.transfer_syntax_uid for one in prepared.instances], told, looked


def test_one_frame_speaks_for_an_image_set() -> None:
    found = [J2K, J2K, LOSSY_J2K]
    assert _syntaxes(_image_set(None, None, LOSSY_J2K), {0: JPEG_2000}) == (found, found, 1)


def test_nothing_is_looked_at_where_the_metadata_says_it() -> None:
    assert _syntaxes(_image_set(J2K, RPCL), {}) == ([J2K, RPCL], [J2K, RPCL], 0)


def test_another_frame_is_asked_where_one_is_bad() -> None:
    bad: dict[int, bytes | Exception] = {0: UpstreamFailed("bad"), 1: b"no codestream", 2: JPEG_2000}
    assert _syntaxes(_image_set(None, None, None, None), bad) == ([J2K] * 4, [J2K] * 4, 3)
    assert _syntaxes(_image_set(None), {0: UpstreamFailed("bad")})[0] == [RPCL]


def test_nothing_is_guessed_while_ahi_is_down() -> None:
    with pytest.raises(UpstreamBusy):
        _syntaxes(_image_set(None), {0: UpstreamBusy("down")})

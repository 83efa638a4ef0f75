"""The colours of a JPEG frame are those that libjpeg and pydicom show, whatever the label says."""

import warnings
from io import BytesIO

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from ahi.codecs.colour import delivered_photometric, jpeg_has_ycbcr
from ahi.codecs.frames import decode
from ahi.codecs.pixel_format import PixelFormat
from tests.ahi.codecs.labelled_jpeg import ADOBE_RGB, ADOBE_YCC, COLUMNS, JFIF, ROWS, jpeg

LABELS = ("RGB", "YBR_FULL", "YBR_FULL_422", "MONOCHROME2", "")


def _pixels(label: str) -> PixelFormat:
    return PixelFormat(ROWS, COLUMNS, 3, 8, 0, label)


def _decoded(stored: bytes, label: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(decode(stored, JPEGBaseline8Bit, _pixels(label)), np.uint8).reshape(ROWS, COLUMNS, 3)


def _by_libjpeg(stored: bytes, *, untransformed: bool = False) -> npt.NDArray[np.uint8]:
    """As Pillow has it, or without any transformation of colours."""
    with Image.open(BytesIO(stored)) as image:
        if untransformed:
            image.draft("YCbCr", image.size)
        return np.array(image)


def _by_pydicom(stored: bytes, label: str) -> npt.NDArray[np.uint8]:
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data_set.Rows, data_set.Columns, data_set.SamplesPerPixel, data_set.PlanarConfiguration = ROWS, COLUMNS, 3, 0
    data_set.BitsAllocated = data_set.BitsStored = 8
    data_set.HighBit, data_set.PixelRepresentation, data_set.PhotometricInterpretation = 7, 0, label
    data_set.PixelData = encapsulate([stored])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the label is not what the codestream says
        return data_set.pixel_array


@settings(deadline=None, max_examples=150)
@given(
    markers=st.sampled_from([(), (JFIF,), (ADOBE_RGB,), (ADOBE_YCC,), (JFIF, ADOBE_YCC), (ADOBE_YCC, JFIF)]),
    ids=st.sampled_from([b"\1\2\3", b"RGB", b"\0\1\2", b"\7\x08\x09"]),
    label=st.sampled_from(LABELS),
    rgb=st.booleans(),
)
def test_markers_then_ids_then_the_label_tell_the_colours_of_a_jpeg(
    markers: tuple[str, ...], ids: bytes, label: str, rgb: bool
) -> None:
    stored = jpeg(markers, ids, rgb=rgb)
    told = bool(markers) or ids == b"RGB"
    expected = _by_libjpeg(stored, untransformed=not told and label == "RGB")
    assert np.abs(_decoded(stored, label).astype(int) - expected).max() <= 1
    assert delivered_photometric(b"", JPEGBaseline8Bit, label) == "RGB"


@pytest.mark.parametrize("markers", [(), (JFIF,)])  # with Adobe's it converts twice, or not at all, as the label is
@pytest.mark.parametrize("ids", [b"\1\2\3", b"RGB"])
@pytest.mark.parametrize("label", ["RGB", "YBR_FULL_422"])
def test_colours_are_those_of_pydicom(markers: tuple[str, ...], ids: bytes, label: str) -> None:
    if markers == (JFIF,) and ids == b"RGB":
        pytest.skip("pydicom goes by the ids there, and libjpeg by JFIF")
    stored = jpeg(markers, ids)
    assert np.abs(_decoded(stored, label).astype(int) - _by_pydicom(stored, label)).max() <= 1


def test_where_adobe_and_jfif_contradict_each_other_adobe_is_believed() -> None:
    for markers in ((JFIF, ADOBE_RGB), (ADOBE_RGB, JFIF)):
        assert not jpeg_has_ycbcr(jpeg(markers, rgb=True), "YBR_FULL_422")


@given(st.binary(max_size=200), st.sampled_from(LABELS))
def test_what_is_no_jpeg_has_the_colours_of_its_label(rest: bytes, label: str) -> None:
    assert jpeg_has_ycbcr(b"\xff\xd8\0" + rest, label) == (label != "RGB")


def test_fill_bytes_before_a_marker_hide_nothing() -> None:
    stored = jpeg((JFIF,))
    filled = stored[:2] + b"\xff\xff" + stored[2:]
    assert np.array_equal(_decoded(filled, "RGB"), _decoded(stored, "YBR_FULL_422"))

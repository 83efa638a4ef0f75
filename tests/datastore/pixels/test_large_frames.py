"""Frames that claim to be huge are not decoded at import."""

from contextlib import closing

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from datastore.findings import Findings
from datastore.pixels.codecs import LOSSLESS
from datastore.pixels.frames import FrameEncoder, Options
from datastore.pixels.layout import NoFrames


@pytest.mark.parametrize("rows_of_data_set", [16, 60_000])
def test_a_codestream_that_claims_to_be_huge_is_not_decoded(rows_of_data_set: int) -> None:
    frame = bytearray(imagecodecs.jpeg2k_encode(np.zeros((16, 16), np.uint8), level=0, codecformat="J2K"))
    frame[8:16] = (60_000).to_bytes(4, "big") * 2  # Xsiz and Ysiz
    frame[24:32] = (60_000).to_bytes(4, "big") * 2  # one tile
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = JPEG2000Lossless
    data_set.Rows = data_set.Columns = rows_of_data_set
    data_set.SamplesPerPixel, data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 1, 8, 8, 7
    data_set.PixelRepresentation, data_set.PhotometricInterpretation = 0, "MONOCHROME2"
    data_set.PixelData = encapsulate([bytes(frame)])
    encoder = FrameEncoder(Options(LOSSLESS["HTJ2K"]))
    with closing(encoder), pytest.raises(NoFrames, match="3600000000 bytes, more than FRAME_MAX_BYTES"):
        encoder.encode(data_set, lambda number, frame, content_type: frame, Findings())

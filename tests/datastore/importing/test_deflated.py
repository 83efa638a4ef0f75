import struct
import zlib
from pathlib import Path

import pytest
from pydicom import FileMetaDataset
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, CTImageStorage, DeflatedExplicitVRLittleEndian

from datastore.importing.deflated import MOST_BYTES, inflates_too_far
from datastore.importing.scan import DicomFile, Refused, quiet, scan

HEAD = 12  # bytes of the only element


def deflated(path: Path, size_bytes: int) -> Path:
    """A file whose data set is one element of zeros, of so many bytes together."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, UID("1.2.3")
    head = DicomBytesIO()
    head.write(bytes(128) + b"DICM")
    write_file_meta_info(head, meta)
    deflater = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    with path.open("wb") as file:
        file.write(head.getvalue())
        file.write(deflater.compress(struct.pack("<HH2sHI", 0x0009, 0x1011, b"OB", 0, size_bytes - HEAD)))
        for start in range(HEAD, size_bytes, 2**24):
            file.write(deflater.compress(bytes(min(2**24, size_bytes - start))))
        file.write(deflater.flush())
    return path


@pytest.mark.parametrize(("size_bytes", "too_far"), [(2**20, False), (2**20 + 1, True), (2**22, True), (1000, False)])
def test_a_deflated_data_set_is_measured(tmp_path: Path, size_bytes: int, too_far: bool) -> None:
    assert inflates_too_far(deflated(tmp_path / "file", size_bytes), 2**20) == too_far


def test_a_small_file_of_a_large_data_set_is_refused(tmp_path: Path) -> None:
    path = deflated(tmp_path / "bomb", MOST_BYTES + 2)
    assert path.stat().st_size < MOST_BYTES / 100
    with quiet():
        assert list(scan([path])) == [Refused(path, "its deflated data set is too large")]


def test_others_are_read_as_before() -> None:
    path = Path(str(get_testdata_file("image_dfl.dcm")))
    assert not inflates_too_far(path) and not inflates_too_far(Path(str(get_testdata_file("CT_small.dcm"))))
    with quiet():
        assert isinstance(next(iter(scan([path]))), DicomFile)

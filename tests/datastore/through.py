"""A data set on its whole way: written as a file, imported, its metadata and frames read as the proxy reads them."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmwrite

from ahi.codecs.frames import decode
from ahi.image_sets.data_set_variants import DataSetVariants, Photometric
from ahi.image_sets.image_set import ImageSet, Instance
from ahi.workers.frame_check import frame_fault
from datastore.findings import Finding, FindingKind, Findings
from datastore.importing.instance import InstanceWriter
from datastore.importing.metadata import DIALECTS, document, encode
from datastore.importing.scan import Unreadable, quiet, read
from datastore.pixels.codecs import LOSSLESS
from datastore.pixels.frames import FrameEncoder, Options
from datastore.pixels.native import TruncatedPixelData
from datastore.pixels.pixel_data import check_complete
from datastore.storage.storage import Storage
from dicomweb.data_set import DataSet
from dicomweb.errors import ProxyError


@dataclass(frozen=True)
class Served:
    """What comes out: the data set that is true for native frames, these frames, and what the import told."""

    instance: Instance
    described: DataSet
    frames: list[np.ndarray]
    findings: list[Finding]
    levels: list[int]

    @property
    def kinds(self) -> set[FindingKind]:
        """What was told, but for what takes nothing away."""
        return {finding.kind for finding in self.findings if finding.kind.is_loss}


def served(source: Dataset | bytes, folder: Path, lossless: str = "HTJ2K") -> Served:
    """Import a data set, or the bytes of a file, and serve it; Unreadable where it is refused."""
    path = folder / "file"
    if isinstance(source, bytes):
        path.write_bytes(source)
    else:
        file = io.BytesIO()
        if source.file_meta.TransferSyntaxUID.is_transfer_syntax:
            source.save_as(file, enforce_file_format=True)
        else:  # one that pydicom does not know, all of which are Explicit VR Little Endian (PS3.5 Annex A.4)
            with quiet():
                dcmwrite(file, source, implicit_vr=False, little_endian=True, force_encoding=True)
        path.write_bytes(file.getvalue())
    encoder = FrameEncoder(Options(LOSSLESS[lossless]), workers=1)
    writer, findings = InstanceWriter(encoder, DIALECTS["2025"], None), Findings()
    storage = Storage.open(folder / "store", lossless_storage_format=lossless)
    try:
        with quiet(), storage.importing(), storage.stage() as staging:
            data_set = read(path, findings)
            attributes = writer.attributes(data_set, findings)
            try:
                check_complete(data_set)
            except TruncatedPixelData as error:
                raise Unreadable from error
            written = writer.write(data_set, attributes, staging, findings)
            whole = document(
                "d" * 32, "i" * 32, attributes.levels, {written.sop_instance_uid: written.node}, writer.dialect
            )
            (instance,) = ImageSet.from_metadata(encode(whole)).instances
            stored = [(staging.folder / frame.frame_id).read_bytes() for frame in instance.frames]
    finally:
        encoder.close()
    forms = DataSetVariants.of(instance, Photometric(lambda _instance, _pixels: stored[0]))
    frames: list[np.ndarray] = []
    for frame, content in zip(instance.frames, stored, strict=True):
        syntax, pixels = instance.stored_transfer_syntax_uid, forms.pixels
        if pixels is None:  # nobody says how large they are
            frames.append(np.empty(0))
            continue
        try:
            fault = frame_fault(content, frame, syntax, pixels)
            native = decode(content, syntax, pixels)
        except ProxyError as error:
            fault, native = str(error), b""
        if fault:
            frames.append(np.empty(0))
        elif pixels.bits_allocated == 1:
            bits = np.unpackbits(np.frombuffer(native, np.uint8), bitorder="little")
            frames.append(bits[: pixels.rows * pixels.columns * pixels.samples_per_pixel])
        else:
            shape = (pixels.rows, pixels.columns, *([pixels.samples_per_pixel] if pixels.samples_per_pixel > 1 else []))
            frames.append(np.frombuffer(native, pixels.dtype).reshape(shape))
    levels = [content[content.index(b"\xff\x52") + 9] for content in stored if content.startswith(b"\xff\x4f\xff\x51")]
    return Served(instance, forms.native, frames, [*findings], levels)


def assert_served(found: Served, expected: np.ndarray) -> None:
    """All frames, in the type and with the values that are expected."""
    assert len(found.frames) == len(expected), [*map(str, found.findings)]
    for frame, pixels in zip(found.frames, expected, strict=True):
        assert frame.dtype == pixels.dtype.newbyteorder("<"), (frame.dtype, pixels.dtype)
        np.testing.assert_array_equal(frame, pixels)


def value(found: Served, tag: str) -> object:
    """The value of an attribute of what is served; None where it is not there."""
    attribute = next((attribute for attribute in found.described if attribute.tag == tag), None)
    return None if attribute is None else attribute.value

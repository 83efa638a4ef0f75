"""One file → the node of its instance in the metadata, and its frames in a staged version."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pydicom import Dataset

from datastore.findings import FindingKind, Findings
from datastore.importing.json_values import JsonObject
from datastore.importing.metadata import Dialect, InstanceAttributes
from datastore.pixels import kept
from datastore.pixels.frames import EncodedFrame, Encoding, FrameEncoder
from datastore.pixels.layout import NoFrames
from datastore.pixels.pixel_data import has_pixels
from datastore.storage.staging import Staging

_HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.202"  # the default if no transfer syntax is recorded


@dataclass(frozen=True)
class WrittenInstance:
    """An instance whose frames are written, and its node in the metadata."""

    sop_instance_uid: str
    node: JsonObject


@dataclass(frozen=True)
class InstanceWriter:
    """Writes instances in one dialect. Safe to share between threads."""

    encoder: FrameEncoder
    dialect: Dialect
    max_inline_bytes: int | None

    def attributes(self, data_set: Dataset, findings: Findings) -> InstanceAttributes:
        """The attributes of a file in the dialect; losses are added to `findings`."""
        return InstanceAttributes.from_data_set(data_set, self.dialect, self.max_inline_bytes, findings)

    def write(
        self, data_set: Dataset, attributes: InstanceAttributes, staging: Staging, findings: Findings
    ) -> WrittenInstance:
        """Write the frames of an instance and describe it; losses are added to `findings`."""
        uid = attributes.sop_instance_uid
        encoding: Encoding | None = None
        frames: list[JsonObject] = []
        replaced: Mapping[str, str | int] = {}

        def store(number: int, frame: EncodedFrame, content_type: str) -> JsonObject:
            frame_id = _frame_id(staging.image_set_id, uid, number, frame.source)
            staging.add_frame(frame_id, frame.stored, kept.CONTENT_TYPE if frame.is_kept else content_type)
            return self._described(frame_id, frame)

        if has_pixels(data_set):
            try:
                encoded = self.encoder.encode(data_set, store, findings)
                encoding, frames, replaced = encoded.encoding, encoded.frames, encoded.replaced
            except NoFrames as error:
                findings.add(FindingKind.NO_FRAMES, "", str(error))
        node = {
            "DICOM": {**attributes.dicom, **replaced},
            "DICOMVRs": attributes.vrs,
            **self._syntax(encoding),
            "ImageFrames": frames,
        }
        return WrittenInstance(uid, node)

    def _described(self, frame_id: str, frame: EncodedFrame) -> JsonObject:
        """A frame in the metadata. One that is encoded later has its decoded size, as AHI's guide defines it."""
        is_decoded = self.dialect.decoded_sizes or frame.is_kept
        return {
            "ID": frame_id,
            "PixelDataChecksumFromBaseToFullResolution": [
                {"Width": checksum.width, "Height": checksum.height, "Checksum": checksum.crc32}
                for checksum in frame.checksums
            ],
            "MinPixelValue": frame.minimum,
            "MaxPixelValue": frame.maximum,
            "FrameSizeInBytes": frame.decoded_bytes if is_decoded else len(frame.stored),
        }

    def _syntax(self, encoding: Encoding | None) -> JsonObject:
        """The encoding of the frames; the older dialect names it only if it is not the default."""
        if encoding is None:
            return {}
        if not self.dialect.names_stored_syntax:
            named = encoding.transfer_syntax_uid != _HTJ2K_LOSSLESS_RPCL
            return {"StoredTransferSyntaxUID": encoding.transfer_syntax_uid} if named else {}
        return {
            "StoredTransferSyntaxUID": encoding.transfer_syntax_uid,
            # The name in AHI for checksums over stored bytes is not known; this is our counterpart to DECOMPRESSED.
            "ChecksumType": "DECOMPRESSED" if encoding.transcoded else "COMPRESSED",
        }


def _frame_id(image_set_id: str, sop_instance_uid: str, number: int, source: bytes) -> str:
    """32 hex digits of a hash over place and content: a frame keeps its ID in every version, and no other has it."""
    place = f"{image_set_id}/{sop_instance_uid}/{number}/".encode()
    return hashlib.sha256(place + source).hexdigest()[:32]

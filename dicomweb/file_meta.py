"""The beginning of a DICOM file: preamble, prefix and File Meta Information (PS3.10 Table 7.1-1)."""

from dicomweb.explicit_le import encode_element

IMPLEMENTATION_CLASS_UID = "1.2.826.0.1.3680043.8.498.45787841905188114249328053"
IMPLEMENTATION_VERSION_NAME = "AHI_DICOMWEB_1"

_START = encode_element("00020001", "OB", b"\x00\x01")
_UIDS = ("00020002", "00020003", "00020010")  # SOP class, SOP instance, transfer syntax
_END = encode_element("00020012", "UI", IMPLEMENTATION_CLASS_UID.encode()) + encode_element(
    "00020013", "SH", IMPLEMENTATION_VERSION_NAME.encode()
)


def encode_file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """All bytes of a file that come before its data set."""
    uids = zip(_UIDS, (sop_class_uid, sop_instance_uid, transfer_syntax_uid), strict=True)
    meta = _START + b"".join(encode_element(tag, "UI", uid.encode()) for tag, uid in uids) + _END
    return bytes(128) + b"DICM" + encode_element("00020000", "UL", len(meta).to_bytes(4, "little")) + meta

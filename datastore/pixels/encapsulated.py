"""Encapsulated pixel data → encoded frames, byte for byte (PS3.5 Annex A.4)."""

from collections.abc import Iterator
from itertools import islice

from pydicom import Dataset
from pydicom.encaps import generate_fragments, generate_frames

from datastore.findings import FindingKind, Findings
from datastore.pixels.layout import NoFrames, declared_frames


def encapsulated_frames(data_set: Dataset, findings: Findings) -> list[bytes]:
    """The frames, at most as many as NumberOfFrames states; NoFrames if there are none."""
    declared = declared_frames(data_set)
    frames = _frames(data_set, declared, findings)
    if not any(frames):
        raise NoFrames("the pixel data is empty")
    if declared is not None and len(frames) > declared:
        reason = f"there are {len(frames)} frames, NumberOfFrames says {declared}"
        findings.add(FindingKind.FRAMES_LEFT_OUT, "PixelData", reason)
    if declared is not None and len(frames) < declared:
        reason = f"the pixel data has {len(frames)} frames, NumberOfFrames says {declared}"
        findings.add(FindingKind.FRAMES_MISSING, "PixelData", reason)
    return frames[:declared]


def _frames(data_set: Dataset, declared: int | None, findings: Findings) -> list[bytes]:
    """The frames by the offset tables, else one for each fragment."""
    offsets = None
    if "ExtendedOffsetTable" in data_set and "ExtendedOffsetTableLengths" in data_set:
        offsets = (data_set.ExtendedOffsetTable, data_set.ExtendedOffsetTableLengths)
    try:
        found = generate_frames(data_set.PixelData, number_of_frames=declared, extended_offsets=offsets)
        return list(islice(found, (declared or len(data_set.PixelData)) + 1))
    except Exception:  # noqa: BLE001 - hostile offsets and items end in any kind of error
        fragments = list(_fragments(data_set, findings))
    return [b"".join(fragments)] if declared == 1 else fragments


def _fragments(data_set: Dataset, findings: Findings) -> Iterator[bytes]:
    """The fragments without the offset table, up to the first that cannot be read."""
    found = generate_fragments(data_set.PixelData)
    try:
        next(found, None)
        yield from found
    except Exception as error:  # noqa: BLE001 - as above
        reason = f"the pixel data cannot be taken apart to its end ({type(error).__name__})"
        findings.add(FindingKind.STRAY, "PixelData", reason)


def video_stream(data_set: Dataset) -> bytes:
    """All fragments joined, without the offset table; NoFrames if they cannot be read."""
    try:
        _offset_table, *fragments = [*generate_fragments(data_set.PixelData)]
    except Exception as error:  # noqa: BLE001 - as above
        raise NoFrames(f"the video cannot be taken apart ({type(error).__name__})") from error
    if not any(fragments):
        raise NoFrames("the video is empty")
    return b"".join(fragments)

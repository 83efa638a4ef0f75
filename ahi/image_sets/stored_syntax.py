"""The transfer syntax of stored frames where the metadata does not name it. Runs in the FrameFetcher processes.

Such frames have the lossless format of their data store: HTJ2K or JPEG 2000, as chosen when the data store was created.
Only a codestream shows which.
"""

from collections.abc import Callable
from dataclasses import replace

from ahi.image_sets.image_set import ImageSet, Instance
from dicomweb.codestream import header_segments
from dicomweb.errors import NotAcceptable, NotFound, UnusableAnswer, UpstreamFailed
from dicomweb.transfer_syntax import (
    HTJ2K,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
)

_J2K_START = b"\xff\x4f\xff\x51"
_CAP, _COD = 0xFF50, 0xFF52
_PART_15 = 1 << (32 - 15)  # its bit in Pcap (ISO/IEC 15444-1 Section A.5.2)
_RPCL = 2
_MAX_PROBES = 3  # instances whose first frames may be no codestreams


def with_syntax(image_set: ImageSet, probe: Callable[[Instance], bytes]) -> ImageSet:
    """Add the transfer syntaxes that the metadata leaves out. `probe` returns the first frame of an instance.

    A data store has one format, so one frame is enough. HTJ2K, the usual format, where no frame shows it.
    UnusableAnswer where AHI sent something else than the probed frames: it may send them next time.
    """
    unnamed = [one for one in image_set.instances if not one.stored_transfer_syntax_uid]
    if not unnamed:
        return image_set
    candidates = [one for one in unnamed if one.frames][:_MAX_PROBES]
    unusable: list[UnusableAnswer] = []
    syntax_uid = next((uid for one in candidates if (uid := _probed(one, probe, unusable))), None)
    if syntax_uid is None and unusable and len(unusable) == len(candidates):
        raise unusable[-1]
    syntax_uid = syntax_uid or HTJ2K_LOSSLESS_RPCL
    instances = (
        one if one.stored_transfer_syntax_uid else replace(one, stored_transfer_syntax_uid=syntax_uid)
        for one in image_set.instances
    )
    return replace(image_set, instances=tuple(instances))


def _probed(instance: Instance, probe: Callable[[Instance], bytes], unusable: list[UnusableAnswer]) -> str | None:
    try:
        return syntax_of(probe(instance))
    except UnusableAnswer as error:
        unusable.append(error)
        return None
    except (UpstreamFailed, NotFound, NotAcceptable):
        return None


def syntax_of(stored: bytes) -> str | None:
    """Return the transfer syntax of a JPEG 2000 or HTJ2K codestream; None for other bytes."""
    segments = dict(reversed(header_segments(stored))) if stored.startswith(_J2K_START) else {}
    style = segments.get(_COD, b"")
    if len(style) < 10:
        return None
    capabilities, reversible = int.from_bytes(segments.get(_CAP, b"")[:4].ljust(4, b"\0"), "big"), style[9] == 1
    if not capabilities & _PART_15:
        return JPEG_2000_LOSSLESS if reversible else JPEG_2000
    if not reversible:
        return HTJ2K
    return HTJ2K_LOSSLESS_RPCL if style[1] == _RPCL else HTJ2K_LOSSLESS

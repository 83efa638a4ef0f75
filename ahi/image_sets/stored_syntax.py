"""How frames are stored of which the metadata does not say it: in the lossless format of their data store.

That is HTJ2K or JPEG 2000, as was chosen when the data store was made, and only a codestream tells which.
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
_MOST_LOOKED_AT = 3  # instances whose first frames may be no codestreams


def with_syntax(image_set: ImageSet, look: Callable[[Instance], bytes]) -> ImageSet:
    """The image set with the transfer syntaxes that its metadata leaves out; `look` has the first frame of an instance.

    A data store has one format, so one frame speaks for all. Without any that tells it, it is HTJ2K, the usual one.
    UnusableAnswer where AHI gave something else than each frame: it may give them next time.
    """
    unnamed = [one for one in image_set.instances if not one.stored_transfer_syntax_uid]
    if not unnamed:
        return image_set
    framed = [one for one in unnamed if one.frames][:_MOST_LOOKED_AT]
    unusable: list[UnusableAnswer] = []
    found = next((uid for one in framed if (uid := _looked_up(one, look, unusable))), None)
    if found is None and unusable and len(unusable) == len(framed):
        raise unusable[-1]
    found = found or HTJ2K_LOSSLESS_RPCL
    instances = (
        one if one.stored_transfer_syntax_uid else replace(one, stored_transfer_syntax_uid=found)
        for one in image_set.instances
    )
    return replace(image_set, instances=tuple(instances))


def _looked_up(instance: Instance, look: Callable[[Instance], bytes], unusable: list[UnusableAnswer]) -> str | None:
    try:
        return syntax_of(look(instance))
    except UnusableAnswer as error:
        unusable.append(error)
        return None
    except (UpstreamFailed, NotFound, NotAcceptable):
        return None


def syntax_of(stored: bytes) -> str | None:
    """The transfer syntax of a JPEG 2000 or HTJ2K codestream; None where it is neither."""
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

"""The data set of an instance as it is true for native pixels, which are delivered by default, and for stored ones.

AHI keeps the labels of the source file while the frames are interleaved and may be RGB by now (PS3.5 Section 8.2).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ahi.codecs.colour import delivered_photometric, jpeg_2000_has_colour_transform, tells_its_colours
from ahi.codecs.frames import PixelFormat
from ahi.image_sets.image_set import Instance
from dicomweb.data_set import Attribute, DataSet
from dicomweb.errors import NotAcceptable, NotFound, UnusableAnswer, UpstreamFailed
from dicomweb.transfer_syntax import transfer_syntax

Probe = Callable[[Instance, PixelFormat | None], bytes]
"""The stored bytes of the first frame of an instance: only the codestream knows whether colours were transformed."""

_MOST_LOOKED_AT = 3  # frames of a kind that cannot be had
_TOTAL_COLUMNS = "00480006"  # TotalPixelMatrixColumns: of a tiled image
_TOLD_LABELS = frozenset({"RGB", "YBR_ICT", "YBR_RCT"})
"""Labels that are decoded as RGB, whatever the codestream says."""

_Kind = tuple[str, str, str, str]
_CHANGED_VRS = {"00280004": "CS", "00280006": "US", "00282110": "CS"}


@dataclass(frozen=True)
class DataSetVariants:
    """The forms of one data set, the same object where they are equal; `pixels` is None without pixel data.

    The metadata, and with it what a search finds, is that of native pixels.
    """

    pixels: PixelFormat | None
    native: DataSet
    stored: DataSet

    @classmethod
    def of(cls, instance: Instance, photometric: "Photometric") -> "DataSetVariants":
        """Those of an instance."""
        data_set, syntax = instance.data_set, transfer_syntax(instance.stored_transfer_syntax_uid)
        pixels = _pixel_format(instance) if instance.frames else None
        if pixels is None:
            return cls(None, data_set, data_set)
        native_label, stored_label = photometric.of(instance, pixels)
        changes: dict[str, str | int] = {}
        if pixels.samples_per_pixel > 1:
            changes["00280006"] = 0
        if syntax.lossy and not first_value(data_set, "00282110"):
            changes["00282110"] = "01"
        native = _changed(data_set, {**changes, "00280004": native_label})
        stored = _changed(data_set, {**changes, "00280004": stored_label})
        return cls(pixels, native, native if stored == native else stored)


class Photometric:
    """What the codestreams of an image set hold, looked up once per kind of instance.

    What was imported in the same encoding with the same label was transcoded in the same way. What is kept as it was
    imported may be anything: there each instance is a kind of its own, where the label does not tell it.

    Frames that cannot be had do not tell. If three of a kind cannot, and no other did, its label is believed. That is
    not so where AHI gave something else than a frame: it may give the frame next time, and what is prepared is kept.
    """

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._known: dict[_Kind, tuple[str, str]] = {}
        self._failed: Counter[_Kind] = Counter()
        self._unusable: dict[_Kind, UnusableAnswer] = {}

    def learn(self, instances: Iterable[Instance]) -> None:
        """Look at the instances before any is described: one that is good tells of those that are bad."""
        for instance in instances:
            pixels = (
                _pixel_format(instance) if instance.frames and first_value(instance.data_set, "00280002") == 3 else None
            )
            kind = _kind(instance, pixels.photometric_interpretation) if pixels else None
            if pixels is None or kind is None or kind in self._known or self._failed[kind] >= _MOST_LOOKED_AT:
                continue
            try:
                self._known[kind] = self._look(instance, pixels)
            except (UpstreamFailed, NotFound, NotAcceptable) as error:  # a bad frame
                self._failed[kind] += 1
                if isinstance(error, UnusableAnswer):
                    self._unusable[kind] = error

    def of(self, instance: Instance, pixels: PixelFormat) -> tuple[str, str]:
        """PhotometricInterpretation of the native and of the stored pixels.

        UnusableAnswer where AHI gave something else than the frames that would tell.
        """
        label = pixels.photometric_interpretation
        if pixels.samples_per_pixel != 3:
            return label, label
        kind = _kind(instance, label)
        if kind not in self._known:
            self.learn([instance])
        if kind not in self._known and kind in self._unusable:
            raise self._unusable[kind]
        return self._known.get(kind, (label, label))

    def _look(self, instance: Instance, pixels: PixelFormat) -> tuple[str, str]:
        uid, label = instance.stored_transfer_syntax_uid, pixels.photometric_interpretation
        syntax = transfer_syntax(uid)
        if syntax.native or syntax.video:
            return label, label
        stored = b"" if tells_its_colours(uid) else self._probe(instance, pixels)
        native = delivered_photometric(stored, uid, label)
        if syntax.lossy:
            return native, label
        return native, "YBR_RCT" if jpeg_2000_has_colour_transform(stored) else native


def first_value(data_set: DataSet, tag: str) -> str | int | float | None:
    """The first value of an attribute; None where there is none."""
    attribute = next((attribute for attribute in data_set if attribute.tag == tag), None)
    return attribute.words[0] if attribute and attribute.words else None


def _kind(instance: Instance, label: str) -> _Kind:
    stored = instance.stored_transfer_syntax_uid
    alone = instance.sop_instance_uid if transfer_syntax(stored).lossy and label not in _TOLD_LABELS else ""
    return label, stored, instance.source_transfer_syntax_uid, alone


def lacks_frames(instance: Instance) -> bool:
    """Whether it describes pixels that AHI does not have: an import that could not read them keeps the rest."""
    return not instance.frames and _pixel_format(instance) is not None


def _changed(data_set: DataSet, changes: Mapping[str, str | int]) -> DataSet:
    """The data set with these values; what it has already stays the same object, so that equal forms compare fast."""
    kept = [attribute for attribute in data_set if attribute.tag not in changes]
    new = [Attribute(tag, _CHANGED_VRS[tag], (value,)) for tag, value in changes.items()]
    return tuple(sorted(kept + new, key=lambda attribute: attribute.tag))


def _pixel_format(instance: Instance) -> PixelFormat | None:
    data_set = instance.data_set
    numbers = [first_value(data_set, tag) for tag in ("00280010", "00280011", "00280002", "00280100", "00280103")]
    rows, columns, samples, bits, signed = (number if isinstance(number, int) else None for number in numbers)
    if not rows or not columns or not bits or bits > 64:
        return None
    syntax = transfer_syntax(instance.stored_transfer_syntax_uid)
    if instance.floating and not (syntax.native and bits in (32, 64)):
        return None  # no codec of DICOM has floating-point samples
    photometric = str(first_value(data_set, "00280004") or "")
    tile = any(attribute.tag == _TOTAL_COLUMNS for attribute in data_set)
    return PixelFormat(rows, columns, samples or 1, bits, signed or 0, photometric, instance.floating, tile)

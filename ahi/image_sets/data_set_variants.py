"""The data set of an instance, once for native pixels and once for stored frames. Runs in the FrameFetchers.

AHI keeps the attributes of the source file, but frames are interleaved and may have become RGB (PS3.5 Section 8.2).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ahi.codecs.colour import decodes_to_rgb, delivered_photometric, jpeg_2000_has_colour_transform
from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.image_set import Instance
from dicomweb.data_set import Attribute, DataSet
from dicomweb.errors import NotAcceptable, NotFound, UnusableAnswer, UpstreamFailed
from dicomweb.transfer_syntax import transfer_syntax

Probe = Callable[[Instance, PixelFormat | None], bytes]
"""Returns the stored bytes of the first frame: only the codestream shows whether colours were transformed."""

_MAX_FAILED_PROBES = 3  # of one kind
_TOTAL_COLUMNS = "00480006"  # TotalPixelMatrixColumns: of a tiled image
_RGB_LABELS = frozenset({"RGB", "YBR_ICT", "YBR_RCT"})
"""Labels whose pixels are decoded as RGB, whatever the codestream says."""

_Kind = tuple[str, str, str, str]
_CHANGED_VRS = {"00280004": "CS", "00280006": "US", "00282110": "CS"}


@dataclass(frozen=True)
class DataSetVariants:
    """The variants of one data set: the same object where they are equal. `pixels` is None without pixel data.

    Metadata and search results show the variant of native pixels.
    """

    pixels: PixelFormat | None
    native: DataSet
    stored: DataSet

    @classmethod
    def of(cls, instance: Instance, photometric: "Photometric") -> "DataSetVariants":
        """Make the variants of an instance."""
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
    """The colours of the codestreams of an image set, probed once per kind of instance.

    AHI transcodes instances with the same source encoding and the same label in the same way. Frames that it keeps as
    imported may differ: there each instance is a kind of its own, unless the label decides.

    If three frames of a kind cannot be fetched, and no other one can, its label is used. Where AHI sent something else
    than a frame, that is an error instead: AHI may send the frame next time, and the prepared file stays.
    """

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._known: dict[_Kind, tuple[str, str]] = {}
        self._failed: Counter[_Kind] = Counter()
        self._unusable: dict[_Kind, UnusableAnswer] = {}

    def learn(self, instances: Iterable[Instance]) -> None:
        """Probe the instances before their data sets are made: a good frame also decides for bad ones of its kind."""
        for instance in instances:
            pixels = (
                _pixel_format(instance) if instance.frames and first_value(instance.data_set, "00280002") == 3 else None
            )
            kind = _kind(instance, pixels.photometric_interpretation) if pixels else None
            if pixels is None or kind is None or kind in self._known or self._failed[kind] >= _MAX_FAILED_PROBES:
                continue
            try:
                self._known[kind] = self._probe_colours(instance, pixels)
            except (UpstreamFailed, NotFound, NotAcceptable) as error:  # a bad frame
                self._failed[kind] += 1
                if isinstance(error, UnusableAnswer):
                    self._unusable[kind] = error

    def of(self, instance: Instance, pixels: PixelFormat) -> tuple[str, str]:
        """Return PhotometricInterpretation of the native and of the stored pixels.

        UnusableAnswer where AHI sent something else than the frames that would show it.
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

    def _probe_colours(self, instance: Instance, pixels: PixelFormat) -> tuple[str, str]:
        uid, label = instance.stored_transfer_syntax_uid, pixels.photometric_interpretation
        syntax = transfer_syntax(uid)
        if syntax.native or syntax.video:
            return label, label
        stored = b"" if decodes_to_rgb(uid) else self._probe(instance, pixels)
        native = delivered_photometric(stored, uid, label)
        if syntax.lossy:
            return native, label
        return native, "YBR_RCT" if jpeg_2000_has_colour_transform(stored) else native


def first_value(data_set: DataSet, tag: str) -> str | int | float | None:
    """Return the first value of an attribute, or None."""
    attribute = next((attribute for attribute in data_set if attribute.tag == tag), None)
    return attribute.words[0] if attribute and attribute.words else None


def _kind(instance: Instance, label: str) -> _Kind:
    stored = instance.stored_transfer_syntax_uid
    alone = instance.sop_instance_uid if transfer_syntax(stored).lossy and label not in _RGB_LABELS else ""
    return label, stored, instance.source_transfer_syntax_uid, alone


def lacks_frames(instance: Instance) -> bool:
    """Whether it describes pixels that AHI does not have: an import that cannot read them keeps the attributes."""
    return not instance.frames and _pixel_format(instance) is not None


def _changed(data_set: DataSet, changes: Mapping[str, str | int]) -> DataSet:
    """Return the data set with these values. Other attributes stay the same objects, so comparison is fast."""
    unchanged = [attribute for attribute in data_set if attribute.tag not in changes]
    new = [Attribute(tag, _CHANGED_VRS[tag], (value,)) for tag, value in changes.items()]
    return tuple(sorted(unchanged + new, key=lambda attribute: attribute.tag))


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

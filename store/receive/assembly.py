"""DICOM files made of metadata and bulk data: appended to the body in which both came. Nothing long is in memory."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from dicomweb.data_set import CHARACTER_SET, UTF_8, Attribute, DataSet
from dicomweb.errors import BadRequest, ContentTooLarge
from dicomweb.explicit_le import encode_data_set, encode_head
from dicomweb.file_meta import encode_file_meta
from dicomweb.media_types import DICOM_JSON, DICOM_XML
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, OLD_SPELLINGS, TRANSFER_SYNTAXES
from dicomweb.uids import is_well_formed
from runtime.fairness import computing
from store.outcome import FailureReason, Outcome
from store.receive.body import ReceivedBody
from store.receive.instances import Range
from store.receive.metadata import Metadata, parse_json, parse_xml, to_metadata
from store.receive.multipart import BodyPart, parse_parts
from store.receive.part10 import CannotUnderstand

PARSERS: Mapping[str, Callable[[bytes], list[Mapping[str, Any]]]] = {DICOM_JSON: parse_json, DICOM_XML: parse_xml}

MAX_METADATA_BYTES = 8 * 2**20
"""The most bytes of all metadata in one request: they are parsed in memory."""

MAX_INSTANCES = 10_000
"""The most instances in the metadata of one request."""

_PIXEL_DATA = "7FE00010"
_UNDEFINED, _LONGEST_VALUE = 0xFFFFFFFF, 0xFFFFFFFE
_ITEM, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
_COPIED_BYTES = 2**20
_NOT_EXPLICIT = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"})
_CLASS, _INSTANCE, _STUDY, _SERIES = "00080016", "00080018", "0020000D", "0020000E"


@dataclass(frozen=True)
class MetadataAndBulk:
    """A body of metadata and bulk data. `stated_syntax` is that of its Content-Type, "" if it has none."""

    boundary: bytes
    part_type: str
    stated_syntax: str

    def files(self, body: ReceivedBody) -> Iterator[Range | Outcome]:
        """The ranges of the files that are made, and the outcomes of instances that cannot be made.

        BadRequest if the body is malformed, ContentTooLarge for more than MAX_METADATA_BYTES or MAX_INSTANCES.
        """
        content = body.content
        metadata: list[BodyPart] = []
        bulk: dict[str, list[BodyPart]] = {}
        for part in parse_parts(content, self.boundary):
            media_type = part.content_type.media_type
            if media_type in PARSERS or (not media_type and not metadata):
                metadata.append(part)
            else:
                bulk.setdefault(part.headers.get("content-location", ""), []).append(part)
        if not metadata:
            raise BadRequest(f"the body has no part of {self.part_type}")
        if sum(part.stop - part.start for part in metadata) > MAX_METADATA_BYTES:
            raise ContentTooLarge(f"the metadata have more than {MAX_METADATA_BYTES} bytes: send fewer instances")
        count = 0
        for part in metadata:
            documents = self._documents(part, content.read(part.start, part.stop - part.start))
            count += len(documents)
            if count > MAX_INSTANCES:
                raise ContentTooLarge(f"the metadata have more than {MAX_INSTANCES} instances: send fewer")
            stated = part.content_type.parameters.get("transfer-syntax", "")
            yield from (self._file(body, document, bulk, stated) for document in documents)

    def _documents(self, part: BodyPart, content: bytes) -> list[Mapping[str, Any]]:
        try:
            with computing():
                return PARSERS[part.content_type.media_type or self.part_type](content)
        except CannotUnderstand as error:
            raise BadRequest(str(error)) from None

    def _file(
        self, body: ReceivedBody, document: Mapping[str, Any], bulk: Mapping[str, Sequence[BodyPart]], of_part: str
    ) -> Range | Outcome:
        metadata = None
        start = body.length_bytes
        try:
            metadata = to_metadata(document)
            _append(body, metadata, bulk, of_part or self.stated_syntax)
        except CannotUnderstand as error:
            uids = [_usable(metadata.text(tag)) if metadata else "" for tag in (_CLASS, _INSTANCE, _STUDY, _SERIES)]
            return _cannot(uids, str(error))
        except (ValueError, OverflowError):  # a value that its VR cannot have
            return _cannot(["", "", "", ""], "it has a value that does not fit its value representation")
        return start, body.length_bytes


def _cannot(uids: Sequence[str], detail: str) -> Outcome:
    sop_class, sop_instance, study, series = uids
    reason = FailureReason.CANNOT_UNDERSTAND
    return Outcome(sop_class, sop_instance, study, series, failure=reason, detail=detail)


def _usable(uid: str) -> str:
    return uid if is_well_formed(uid) else ""


def _append(body: ReceivedBody, metadata: Metadata, bulk: Mapping[str, Sequence[BodyPart]], stated: str) -> None:
    """Write the file of an instance behind the body. CannotUnderstand before anything is written, or ValueError."""
    parts = {tag: bulk.get(uri, ()) for tag, uri in metadata.bulk.items()}
    if not all(parts.values()):
        raise CannotUnderstand("bulk data that its metadata name are not in the request")
    syntax = _syntax(metadata, parts.get(_PIXEL_DATA, ()), stated)
    is_native = syntax == EXPLICIT_VR_LITTLE_ENDIAN
    if any(len(found) > 1 for tag, found in parts.items() if is_native or tag != _PIXEL_DATA):
        raise CannotUnderstand("several parts have the location of one bulk value")
    if any(part.stop - part.start > _LONGEST_VALUE for found in parts.values() for part in found):
        raise CannotUnderstand("a bulk value is too long")
    pieces = [*_pieces(metadata, parts, is_native)]
    body.add(encode_file_meta(metadata.text(_CLASS), metadata.text(_INSTANCE), syntax))
    for piece in pieces:
        if isinstance(piece, bytes):
            body.add(piece)
        else:
            _copy(body, piece)


def _syntax(metadata: Metadata, pixels: Sequence[BodyPart], stated: str) -> str:
    """The transfer syntax: that of the pixels, or as the metadata or Content-Type say, or by the type of the pixels."""
    of_pixels = pixels[0].content_type if pixels else None
    named = (of_pixels.parameters.get("transfer-syntax", "") if of_pixels else "") or metadata.stated_syntax or stated
    if not named and of_pixels:
        media_type = OLD_SPELLINGS.get(of_pixels.media_type, of_pixels.media_type)
        named = next((uid for uid, syntax in TRANSFER_SYNTAXES.items() if syntax.media_type == media_type), "")
    if named and not is_well_formed(named):
        raise CannotUnderstand("its transfer syntax is malformed")
    if not named or named in _NOT_EXPLICIT:  # the values are in little endian, and the file says so
        return EXPLICIT_VR_LITTLE_ENDIAN
    return named if pixels else EXPLICIT_VR_LITTLE_ENDIAN


def _pieces(metadata: Metadata, parts: Mapping[str, Sequence[BodyPart]], is_native: bool) -> Iterator[bytes | BodyPart]:
    """The data set: bytes, and bulk data that are copied."""
    charset = _charset(metadata.attributes)
    prefix = len(encode_data_set(charset))
    others = (attribute for attribute in metadata.attributes if attribute.tag != CHARACTER_SET)
    attributes = sorted((*charset, *others), key=lambda attribute: attribute.tag)
    for is_bulk, run in groupby(attributes, lambda attribute: attribute.tag in parts):
        if is_bulk:
            for attribute in run:
                encapsulated = attribute.tag == _PIXEL_DATA and not is_native
                yield from (_encapsulated if encapsulated else _whole)(attribute, parts[attribute.tag])
        else:
            yield _encode(list(run), charset, prefix)


def _charset(attributes: DataSet) -> DataSet:
    """SpecificCharacterSet: the letters came in UTF-8. It is left out where it was, if all are ASCII."""
    return (Attribute(CHARACTER_SET, "CS", (UTF_8,)),) if not repr(attributes).isascii() or _has(attributes) else ()


def _has(attributes: DataSet) -> bool:
    return any(attribute.tag == CHARACTER_SET for attribute in attributes)


def _encode(run: Sequence[Attribute], charset: DataSet, prefix: int) -> bytes:
    """Encode some attributes of a data set in its character set."""
    if any(attribute.tag == CHARACTER_SET for attribute in run):
        return encode_data_set(tuple(run))
    return encode_data_set((*charset, *run))[prefix:]


def _whole(attribute: Attribute, parts: Sequence[BodyPart]) -> Iterator[bytes | BodyPart]:
    length = parts[0].stop - parts[0].start
    yield encode_head(attribute.tag, attribute.vr, length + length % 2)
    yield parts[0]
    yield bytes(length % 2)


def _encapsulated(attribute: Attribute, frames: Iterable[BodyPart]) -> Iterator[bytes | BodyPart]:
    """One fragment for each part (PS3.5 Section A.4)."""
    yield encode_head(attribute.tag, "OB", _UNDEFINED) + _ITEM + bytes(4)
    for frame in frames:
        length = frame.stop - frame.start
        yield _ITEM + (length + length % 2).to_bytes(4, "little")
        yield frame
        yield bytes(length % 2)
    yield _SEQUENCE_END


def _copy(body: ReceivedBody, part: BodyPart) -> None:
    """Append the content of a part."""
    content = body.content
    for start in range(part.start, part.stop, _COPIED_BYTES):
        body.add(content.read(start, min(_COPIED_BYTES, part.stop - start)))

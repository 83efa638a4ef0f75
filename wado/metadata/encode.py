"""The body of a metadata answer (PS3.18 Section 10.4.4), from the DICOM JSON of each instance.

`encode_metadata` is a job of the FrameFetcher processes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ahi.workers.context import WorkerContext
from dicomweb.content_coding import Coding, compress
from dicomweb.dicom_json import encode
from dicomweb.dicom_xml import encode_xml
from dicomweb.media_types import DICOM_XML
from dicomweb.multipart import Part, boundary_of, encode_multipart
from wado.metadata.fields import Fields

Texts = tuple[tuple[str, bytes], ...]
"""The URL and the DICOM JSON of each instance."""


@dataclass(frozen=True)
class EncodingOptions:
    """The media type, attributes, content coding and entity tag of an answer."""

    media_type: str
    fields: Fields
    coding: Coding
    tag: str


def encode_metadata(context: WorkerContext, name: str, options: EncodingOptions, texts: Texts) -> bytes:
    """The body of an answer, which is also put into the cache as `name`: one part of XML for each instance, or an array
    of JSON."""
    plain = _xml(options, texts) if options.media_type == DICOM_XML else _json(options.fields, texts)
    body = b"".join(compress([plain], options.coding))
    context.cache.put(name, body)
    return body


def join_json(texts: Sequence[bytes]) -> bytes:
    """A JSON array of data sets that are JSON texts already."""
    return b"[" + b",".join(texts) + b"]"


def _json(fields: Fields, texts: Texts) -> bytes:
    return join_json([text if fields.all else encode(fields.of(json.loads(text))) for _, text in texts])


def _xml(options: EncodingOptions, texts: Texts) -> bytes:
    parts = [_part(location, encode_xml(options.fields.of(json.loads(text)))) for location, text in texts]
    return b"".join(map(bytes, encode_multipart(parts, boundary_of(options.tag))))


def _part(location: str, document: bytes) -> Part:
    return Part(DICOM_XML, location, len(document), lambda: [document])

"""Metadata as a whole answer (PS3.18 Section 10.4.4), from the DICOM JSON of each instance: a job for a fetcher."""

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
"""For each instance its URL and its DICOM JSON."""


@dataclass(frozen=True)
class EncodingOptions:
    """How an answer is written: its media type, its attributes, its content coding, and the entity tag it has."""

    media_type: str
    fields: Fields
    coding: Coding
    tag: str


def encode_metadata(context: WorkerContext, name: str, options: EncodingOptions, texts: Texts) -> bytes:
    """The body of an answer, kept under the name: XML has a part for each instance, JSON is one array."""
    plain = _xml(options, texts) if options.media_type == DICOM_XML else _json(options.fields, texts)
    body = b"".join(compress([plain], options.coding))
    context.cache.put(name, body)
    return body


def join_json(texts: Sequence[bytes]) -> bytes:
    """An array of data sets that are JSON text already."""
    return b"[" + b",".join(texts) + b"]"


def _json(fields: Fields, texts: Texts) -> bytes:
    return join_json([text if fields.all else encode(fields.of(json.loads(text))) for _, text in texts])


def _xml(options: EncodingOptions, texts: Texts) -> bytes:
    parts = [_part(location, encode_xml(options.fields.of(json.loads(text)))) for location, text in texts]
    return b"".join(map(bytes, encode_multipart(parts, boundary_of(options.tag))))


def _part(location: str, document: bytes) -> Part:
    return Part(DICOM_XML, location, len(document), lambda: [document])

"""Metadata as XML (PS3.18 Section 10.4.4): a part for each instance, from its DICOM JSON; done in a fetcher, cached."""

import gzip
import json
from collections.abc import Sequence

from ahi.fetchers import Workshop
from dicomweb.dicom_xml import DICOM_XML, encode_xml
from dicomweb.multipart import Part, boundary_of, encode_multipart

Texts = tuple[tuple[str, bytes], ...]
"""For each instance its URL and its DICOM JSON."""


def encode_xml_metadata(workshop: Workshop, name: str, tag: str, squeezed: bool, texts: Texts) -> bytes:
    """The whole multipart body of the answer with this entity tag, with gzip if `squeezed`: a job for a fetcher."""
    body = b"".join(map(bytes, encode_multipart(_parts(texts), boundary_of(tag))))
    if squeezed:
        body = gzip.compress(body, mtime=0)
    workshop.cache.put(name, body)
    return body


def _parts(texts: Texts) -> Sequence[Part]:
    return [_part(location, encode_xml(json.loads(text))) for location, text in texts]


def _part(location: str, document: bytes) -> Part:
    return Part(DICOM_XML, location, len(document), lambda: [document])

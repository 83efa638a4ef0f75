"""Which representation of the results the client gets (PS3.18 Section 10.6.4)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from dicomweb.accept import MediaRange, parse_accept
from dicomweb.conditional import digest, entity_tag
from dicomweb.dicom_csv import encode_csv
from dicomweb.dicom_json import DataSet, encode_array
from dicomweb.dicom_xml import DICOM_XML, encode_xml
from dicomweb.errors import NotAcceptable
from dicomweb.multipart import Part, boundary_of, encode_multipart, multipart_type
from qido.encode.data_sets import data_sets, encoded, location, tags
from qido.parse.query import Query
from qido.statements.result import ResultPage

DICOM_JSON = "application/dicom+json"
JSON = "application/json"
CSV = "text/csv"


@dataclass(frozen=True)
class ResultFormat:
    """A media type, and whether the results are parts of `multipart/related` or one body."""

    media_type: str
    multipart: bool = False

    def __str__(self) -> str:
        return f'multipart/related; type="{self.media_type}"' if self.multipart else self.media_type


OFFERS = (ResultFormat(DICOM_JSON), ResultFormat(JSON), ResultFormat(DICOM_XML, multipart=True), ResultFormat(CSV))
"""In our order of preference; plain JSON is what clients of other kinds ask for, and the text is the same."""


def choose(query: Sequence[str], header: str | None) -> str:
    """The best media type for the values of the `accept` parameter, which come first, and for the Accept header.

    NotAcceptable says what there is if nothing fits.
    """
    text = ",".join(query)
    for media_range in (*(parse_accept(text) if text.strip() else ()), *parse_accept(header)):
        if offer := next(_fitting(media_range), None):
            return offer.media_type
    raise NotAcceptable("not acceptable; offered: " + ", ".join(map(str, OFFERS)))


def encode(media_type: str, query: Query, found: ResultPage, root: str) -> tuple[str, Sequence[bytes]]:
    """The Content-Type of the results in this media type, and their bytes, in pieces.

    `root` is the public URL of the service, without a slash at its end.
    """
    match media_type:
        case "text/csv":
            rows = list(data_sets(query, found, root))
            return f"{CSV}; charset=utf-8", [encode_csv(rows, tags(query, rows))]
        case "application/dicom+xml":
            parts = [_xml_part(data_set) for data_set in data_sets(query, found, root)]
            tag = entity_tag(digest(bytes(chunk) for part in parts for chunk in part.chunks()))
            return multipart_type(DICOM_XML, tag), list(map(bytes, encode_multipart(parts, boundary_of(tag))))
        case _:
            return media_type, list(encode_array(encoded(query, found, root)))


def _xml_part(data_set: DataSet) -> Part:
    body = encode_xml(data_set)
    return Part(DICOM_XML, location(data_set), len(body), partial(iter, (body,)))


def _fitting(media_range: MediaRange) -> Iterator[ResultFormat]:
    for offer in OFFERS:
        if media_range.covers(offer.media_type) and media_range.multipart in (None, offer.multipart):
            yield offer

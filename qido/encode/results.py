"""The representations of search results, and their bytes (PS3.18 Section 10.6.4)."""

from collections.abc import Sequence
from functools import partial

from dicomweb import media_types
from dicomweb.conditional import digest, entity_tag
from dicomweb.dicom_csv import encode_csv
from dicomweb.dicom_json import DataSet, encode_array
from dicomweb.dicom_xml import encode_xml
from dicomweb.multipart import Part, boundary_of, encode_multipart, multipart_type
from dicomweb.negotiation import Offer
from qido.encode.data_sets import data_sets, encoded, location, tags
from qido.parse.query import Query
from qido.results import ResultPage

OFFERS = tuple(map(Offer, (media_types.DICOM_JSON, media_types.JSON, media_types.DICOM_XML, media_types.CSV)))
"""In order of preference. Plain JSON is for clients that are not DICOMweb clients; its text is that of DICOM JSON."""


def encode(media_type: str, query: Query, found: ResultPage, root: str) -> tuple[str, Sequence[bytes]]:
    """The Content-Type of the results in this media type, and their bytes, in pieces.

    `root` is the public URL of the service, without a slash at its end.
    """
    match media_type:
        case media_types.CSV:
            rows = list(data_sets(query, found, root))
            return f"{media_types.CSV}; charset=utf-8", [encode_csv(rows, tags(query, rows))]
        case media_types.DICOM_XML:
            parts = [_xml_part(data_set) for data_set in data_sets(query, found, root)]
            tag = entity_tag(digest(bytes(chunk) for part in parts for chunk in part.chunks()))
            return multipart_type(media_types.DICOM_XML, tag), list(
                map(bytes, encode_multipart(parts, boundary_of(tag)))
            )
        case _:
            return media_type, list(encode_array(encoded(query, found, root)))


def _xml_part(data_set: DataSet) -> Part:
    body = encode_xml(data_set)
    return Part(media_types.DICOM_XML, location(data_set), len(body), partial(iter, (body,)))

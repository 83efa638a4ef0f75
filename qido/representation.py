"""Which representation of the results the client gets (PS3.18 Section 10.6.4)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dicomweb.accept import MediaRange, parse_accept
from dicomweb.dicom_xml import DICOM_XML
from dicomweb.errors import NotAcceptable

DICOM_JSON = "application/dicom+json"
JSON = "application/json"
CSV = "text/csv"


@dataclass(frozen=True)
class Offer:
    """A media type, and whether the results are parts of `multipart/related` or one body."""

    media_type: str
    multipart: bool = False

    def __str__(self) -> str:
        return f'multipart/related; type="{self.media_type}"' if self.multipart else self.media_type


OFFERS = (Offer(DICOM_JSON), Offer(JSON), Offer(DICOM_XML, multipart=True), Offer(CSV))
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


def _fitting(media_range: MediaRange) -> Iterator[Offer]:
    for offer in OFFERS:
        if media_range.covers(offer.media_type) and media_range.multipart in (None, offer.multipart):
            yield offer

"""The metadata resources at the three levels: parse, locate, agree on a representation, respond.

Runs in the web processes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flask import Blueprint, Response, request

from ahi.retrieval.encoded_answers import EncodedAnswers
from ahi.workers.pool import FetcherPool
from dicomweb import respond
from dicomweb.conditional import entity_tag
from dicomweb.content_coding import Coding, choose_coding
from dicomweb.media_types import DICOM_XML
from dicomweb.multipart import multipart_type
from dicomweb.negotiation import Accept
from dicomweb.parameters import parse_parameters
from wado.locate import LocatedInstance, Locator
from wado.metadata.encode import EncodingOptions, encode_metadata, join_json
from wado.metadata.fields import Fields
from wado.representation import METADATA_OFFERS
from wado.target import LEVELS, Target


def blueprint(service: "MetadataService") -> Blueprint:
    """`/metadata` below a study, a series and an instance."""
    bp = Blueprint("wado-metadata", __name__)
    for path in LEVELS:
        bp.add_url_rule(f"{path}/metadata", f"{path}/metadata", service.metadata)
    return bp


@dataclass(frozen=True)
class MetadataService:
    """The view function and what it uses. `public_root` gives the URL under which this client knows the service."""

    locator: Locator
    encoded: EncodedAnswers
    fetchers: FetcherPool
    public_root: Callable[[], str]

    def metadata(self, **path: str) -> Response:
        """The data sets as DICOM JSON or XML, with URLs in place of bulk values."""
        parameters = parse_parameters(request.query_string)
        target, fields = Target.from_path(**path), Fields.from_parameters(parameters)
        located = self.locator.instances(target)
        accept = Accept.from_request(request.query_string, request.headers.get("Accept"))
        media_type = accept.choose(METADATA_OFFERS, single=True).offer.media_type
        coding = choose_coding(request.headers.get("Accept-Encoding"))
        states = [instance.state for instance in located]
        tag = entity_tag("metadata", self.public_root(), coding, media_type, fields, states)
        options = EncodingOptions(media_type, fields, coding, tag)
        return respond.unless_known(
            request.headers, tag, respond.NO_CACHE, "Accept, Accept-Encoding", lambda: self._answer(located, options)
        )

    def _answer(self, located: list[LocatedInstance], options: EncodingOptions) -> Response:
        root, key = self.public_root(), options.tag.strip('"')

        def texts() -> Iterator[tuple[str, bytes]]:
            return (
                (f"{root}{instance.path}/metadata", instance.image_set.metadata(instance.prepared, root))
                for instance in located
            )

        def encode(name: str) -> bytes:
            return self.fetchers.run(key, encode_metadata, name, options, tuple(texts()))

        if options.media_type == DICOM_XML:
            body, content_type = self.encoded.read(key, encode), multipart_type(DICOM_XML, options.tag)
        elif options.coding is Coding.IDENTITY and options.fields.all:
            body, content_type = join_json([text for _, text in texts()]), options.media_type
        else:
            body, content_type = self.encoded.read(key, encode), options.media_type
        return respond.coded(body, content_type, options.coding)

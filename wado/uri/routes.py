"""The one resource of the URI service: parse, locate, agree on a media type, answer with a single part."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from flask import Blueprint, Response, request

from ahi.fetchers import Fetchers
from ahi.store import Frames
from dicomweb import respond
from dicomweb.conditional import entity_tag
from dicomweb.errors import BadRequest
from dicomweb.parameters import parse_parameters
from wado.locate import LocatedInstance, Locator
from wado.part10 import Part10, fetch_for
from wado.rendered.draw import Picture, render
from wado.rendered.parameters import parse_rendering
from wado.representation import DICOM, FileChoice, Offer
from wado.uri.offers import choose_offer, document_of
from wado.uri.query import UriQuery
from wado.uri.rendering import Rendering


def blueprint(service: "UriService") -> Blueprint:
    """`/wado`."""
    bp = Blueprint("wado-uri", __name__)
    bp.add_url_rule("/wado", "retrieve", service.retrieve)
    return bp


@dataclass(frozen=True)
class UriService:
    """The view function, and what it uses."""

    locator: Locator
    file_choice: FileChoice
    stored: Frames
    fetchers: Fetchers

    def retrieve(self) -> Response:
        """An object, its document, or a picture of one of its frames."""
        query = UriQuery.from_parameters(parse_parameters(request.query_string))
        instance = self.locator.instance(query.target)
        accept = replace(query.accept(request.headers.get("Accept")), files=self.file_choice)
        offer = choose_offer(instance.prepared, accept, query.frame_number)
        make, facts = self._maker(instance, offer, query)
        tag = entity_tag("uri", offer, instance.state, facts)
        return respond.unless_known(request.headers, tag, respond.NO_CACHE, "Accept", lambda: make(tag))

    def _maker(
        self, instance: LocatedInstance, offer: Offer, query: UriQuery
    ) -> tuple[Callable[[str], Response], object]:
        """What makes the answer with an entity tag, and what the tag has to tell apart besides offer and object."""
        if offer.media_type == DICOM:
            return lambda _tag: self._file(instance, offer), None
        document = document_of(instance.prepared)
        if document and offer.media_type == document.media_type:
            body = instance.image_set.block(document.where)
            return lambda tag: _ranged(body, offer, tag), None
        number, count = query.frame_number or 1, len(instance.prepared.frames)
        if number > count:
            raise BadRequest(f"frameNumber is beyond the last of {count} frames")
        return lambda _tag: self._picture(instance, number, offer, query.rendering), (number, query.rendering)

    def _file(self, instance: LocatedInstance, offer: Offer) -> Response:
        file = Part10(instance, offer, self.stored)
        chunks = file.chunks(fetch_for([file], self.stored)(file))
        return respond.stream(chunks, offer.content_type, file.length_bytes)

    def _picture(self, instance: LocatedInstance, frame_number: int, offer: Offer, rendering: Rendering) -> Response:
        pixels = instance.prepared.pixels
        asked = rendering.parameters(pixels.rows, pixels.columns) if pixels else {}
        drawn, _ = parse_rendering(asked.items())
        reference = instance.frame(frame_number)
        head = instance.image_set.block(instance.prepared.native_head)
        picture = Picture((reference,), (frame_number,), head, offer.media_type, drawn)
        body = self.fetchers.run(reference.frame.frame_id, render, picture)
        response = respond.single(body, offer.content_type)
        for name in asked:
            if name == "presentationUID":
                response.headers.add("Warning", f'299 - "not applied: {name}"')
        return response


def _ranged(body: bytes, offer: Offer, tag: str) -> Response:
    return respond.ranged(request.headers, tag, offer.content_type, len(body), lambda start, stop: [body[start:stop]])

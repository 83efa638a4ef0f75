"""The one resource of the URI service: parse, locate, agree on a media type, answer with a single part."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from flask import Blueprint, Response, request

from ahi.retrieval.bad_frames import BadFrames
from ahi.retrieval.frames import Frames
from ahi.workers.pool import FetcherPool
from dicomweb import respond
from dicomweb.conditional import entity_tag
from dicomweb.errors import BadRequest
from dicomweb.media_types import DICOM
from dicomweb.negotiation import FileChoice, Offer
from dicomweb.parameters import parse_parameters
from wado.delivery import Delivery
from wado.files import encode_file, missing_pixel_data
from wado.locate import LocatedInstance, Locator
from wado.part10 import Part10
from wado.rendered.charset import Charsets
from wado.rendered.draw import IMPLEMENTATION, Picture
from wado.rendered.objects import POLICIES, ObjectPicture, render_object
from wado.rendered.presented_images import find_shown, is_for
from wado.rendered.rendered_images import RenderedImages
from wado.rendering.parameters import parse_rendering
from wado.rendering.presentation.present import find_shown_size
from wado.rendering.presentation.references import SOP_CLASSES as STATES
from wado.target import Target
from wado.uri.offers import choose_offer, document_of
from wado.uri.query import UriQuery
from wado.uri.rendering import UriRendering


def blueprint(service: "UriService") -> Blueprint:
    """`/wado`."""
    bp = Blueprint("wado-uri", __name__)
    bp.add_url_rule("/wado", "retrieve", service.retrieve)
    return bp


@dataclass(frozen=True)
class UriService:
    """The view function, and what it uses; `public_root` is the URL that this client knows the service by."""

    locator: Locator
    file_choice: FileChoice
    stored: Frames
    fetchers: FetcherPool
    drawn: RenderedImages
    public_root: Callable[[], str]
    bad_frames: BadFrames

    def retrieve(self) -> Response:
        """An object, its document, the report that it is, or a picture of one of its frames."""
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
        if instance.prepared.sop_class_uid in STATES:
            return self._frame(*find_shown(self.locator, self.fetchers, instance).frames[0], offer, query, instance)
        if not instance.prepared.frames:
            picture = ObjectPicture(instance.head, self.public_root(), offer.media_type)
            return lambda _tag: self._object(instance, picture, query.charsets), (picture.root, query.charsets)
        number, count = query.frame_number or 1, len(instance.prepared.frames)
        if number > count:
            raise BadRequest(f"frameNumber is beyond the last of {count} frames")
        return self._frame(instance, number, offer, query, self._state(instance, number, query))

    def _frame(
        self, image: LocatedInstance, number: int, offer: Offer, query: UriQuery, state: LocatedInstance | None
    ) -> tuple[Callable[[str], Response], object]:
        """The picture of a frame, as a presentation state shows it if there is one."""
        if state and query.rendering.window:
            raise BadRequest("a window cannot be given together with a presentation state")
        facts = (IMPLEMENTATION, image.state, number, query.rendering, state.state if state else None)
        return lambda _tag: self._picture(image, number, offer, query.rendering, state), facts

    def _state(self, image: LocatedInstance, frame_number: int, query: UriQuery) -> LocatedInstance | None:
        """The presentation state that is asked for; BadRequest where it is not for the frame."""
        if query.rendering.presentation is None:
            return None
        instance, series = query.rendering.presentation
        state = self.locator.instance(Target(image.study_instance_uid, series, instance))
        if state.prepared.sop_class_uid not in STATES:
            raise BadRequest("presentationUID names no presentation state of a kind that can be applied")
        if not is_for(self.fetchers, state, image, frame_number):
            raise BadRequest("the presentation state is not for this image")
        return state

    def _file(self, instance: LocatedInstance, offer: Offer) -> Response:
        file, notes = Part10(instance, offer, self.stored), self.bad_frames.for_image_sets([instance.key])
        delivery = Delivery([file], self.stored, self.bad_frames, notes, as_stored=lambda _file: None)
        delivery.begin()
        response = respond.stream(encode_file(delivery), offer.content_type, file.length_bytes)
        return respond.warned(response, missing_pixel_data([file]))

    def _object(self, instance: LocatedInstance, picture: ObjectPicture, charsets: Charsets) -> Response:
        body = self.fetchers.run(instance.prepared.sop_instance_uid, render_object, picture)
        response = respond.single(*charsets.labelled(body, picture.media_type))
        if picture.media_type in POLICIES:
            response.headers["Content-Security-Policy"] = POLICIES[picture.media_type]
        return response

    def _picture(
        self,
        instance: LocatedInstance,
        frame_number: int,
        offer: Offer,
        rendering: UriRendering,
        state: LocatedInstance | None,
    ) -> Response:
        reference, how = instance.frame(frame_number), state.head if state else b""
        pixels = instance.prepared.pixels
        rows, columns = (pixels.rows, pixels.columns) if pixels else (0, 0)
        if how and rendering.region:  # a part of what the state shows
            asked = (how, instance.head, frame_number)
            rows, columns = self.fetchers.run(reference.frame.frame_id, find_shown_size, *asked)
        drawn, _ = parse_rendering(rendering.parameters(rows, columns).items())
        picture = Picture((reference,), (frame_number,), instance.short_head, offer.media_type, drawn, how)
        return respond.single(self.drawn.one(picture, instance), offer.content_type)


def _ranged(body: bytes, offer: Offer, tag: str) -> Response:
    return respond.ranged(request.headers, tag, offer.content_type, len(body), lambda start, stop: [body[start:stop]])

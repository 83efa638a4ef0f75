"""The one resource of the URI service: parse, locate, agree on a media type, respond with a single part."""

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
from wado.rendered.documents import document_of
from wado.rendered.frame_jobs import IMPLEMENTATION, Picture
from wado.rendered.object_jobs import ObjectPicture, render_object
from wado.rendered.presentation_jobs import find_displayed_size
from wado.rendered.presented_images import applies_to, find_presented
from wado.rendered.rendered_images import RenderedImages
from wado.rendering.objects import POLICIES
from wado.rendering.presentation.references import SOP_CLASSES as STATES
from wado.target import Target
from wado.uri.offers import choose_offer
from wado.uri.query import UriQuery
from wado.uri.rendering import UriRendering


def blueprint(service: "UriService") -> Blueprint:
    """`/wado`."""
    bp = Blueprint("wado-uri", __name__)
    bp.add_url_rule("/wado", "retrieve", service.retrieve)
    return bp


@dataclass(frozen=True)
class UriResource:
    """The resource that a request means: `make` responds with it under an entity tag.

    `facts` are those that the tag depends on, besides the offer and the object.
    """

    make: Callable[[str], Response]
    facts: object = None


@dataclass(frozen=True)
class UriService:
    """The view function and what it uses. `public_root` gives the URL under which this client knows the service."""

    locator: Locator
    file_choice: FileChoice
    frames: Frames
    fetchers: FetcherPool
    images: RenderedImages
    public_root: Callable[[], str]
    bad_frames: BadFrames

    def retrieve(self) -> Response:
        """An object, its encapsulated document, its report, or a picture of one of its frames."""
        query = UriQuery.from_parameters(parse_parameters(request.query_string))
        instance = self.locator.instance(query.target)
        accept = replace(query.accept(request.headers.get("Accept")), files=self.file_choice)
        offer = choose_offer(instance.prepared, accept, query.frame_number)
        resource = self._resource(instance, offer, query)
        tag = entity_tag("uri", offer, instance.state, resource.facts)
        return respond.unless_known(request.headers, tag, respond.NO_CACHE, "Accept", lambda: resource.make(tag))

    def _resource(self, instance: LocatedInstance, offer: Offer, query: UriQuery) -> UriResource:
        if offer.media_type == DICOM:
            return UriResource(lambda _tag: self._file(instance, offer))
        document = document_of(instance.prepared)
        if document and offer.media_type == document.media_type:
            body = instance.image_set.block(document.where)
            return UriResource(lambda tag: _ranged(body, offer, tag))
        if instance.prepared.sop_class_uid in STATES:
            image, number = find_presented(self.locator, self.fetchers, instance).frames[0]
            return self._frame(image, number, offer, query, instance)
        if not instance.prepared.frames:
            picture = ObjectPicture(instance.head, self.public_root(), offer.media_type)
            facts = (picture.root, query.charsets)
            return UriResource(lambda _tag: self._object(instance, picture, query.charsets), facts)
        number, count = query.frame_number or 1, len(instance.prepared.frames)
        if number > count:
            raise BadRequest(f"frameNumber is beyond the last of {count} frames")
        return self._frame(instance, number, offer, query, self._state(instance, number, query))

    def _frame(
        self, image: LocatedInstance, number: int, offer: Offer, query: UriQuery, state: LocatedInstance | None
    ) -> UriResource:
        """The picture of a frame, with the presentation state applied if there is one."""
        if state and query.rendering.window:
            raise BadRequest("a window cannot be given together with a presentation state")
        facts = (IMPLEMENTATION, image.state, number, query.rendering, state.state if state else None)
        return UriResource(lambda _tag: self._picture(image, number, offer, query.rendering, state), facts)

    def _state(self, image: LocatedInstance, frame_number: int, query: UriQuery) -> LocatedInstance | None:
        """The presentation state that the query names; BadRequest where it does not apply to the frame."""
        if query.rendering.presentation is None:
            return None
        instance, series = query.rendering.presentation
        state = self.locator.instance(Target(image.study_instance_uid, series, instance))
        if state.prepared.sop_class_uid not in STATES:
            raise BadRequest("presentationUID names no presentation state of a kind that can be applied")
        if not applies_to(self.fetchers, state, image, frame_number):
            raise BadRequest("the presentation state is not for this image")
        return state

    def _file(self, instance: LocatedInstance, offer: Offer) -> Response:
        file, notes = Part10(instance, offer, self.frames), self.bad_frames.for_image_sets([instance.key])
        delivery = Delivery([file], self.frames, self.bad_frames, notes, as_stored=lambda _file: None)
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
        uri_rendering: UriRendering,
        state: LocatedInstance | None,
    ) -> Response:
        reference, state_head = instance.frame(frame_number), state.head if state else b""
        pixels = instance.prepared.pixels
        rows, columns = (pixels.rows, pixels.columns) if pixels else (0, 0)
        if state_head and uri_rendering.region:  # the region is a part of the displayed area
            arguments = (state_head, instance.head, frame_number)
            rows, columns = self.fetchers.run(reference.frame.frame_id, find_displayed_size, *arguments)
        rendering = uri_rendering.for_image(rows, columns)
        picture = Picture((reference,), (frame_number,), instance.short_head, offer.media_type, rendering, state_head)
        return respond.single(self.images.one(picture, instance), offer.content_type)


def _ranged(body: bytes, offer: Offer, tag: str) -> Response:
    return respond.ranged(request.headers, tag, offer.content_type, len(body), lambda start, stop: [body[start:stop]])

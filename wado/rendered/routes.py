"""`/rendered` and `/thumbnail` in the web processes: parse, locate, agree on a media type, have it drawn, respond."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from urllib.parse import quote

from flask import Blueprint, Response, request

from ahi.image_sets.image_set import ImageSetKey
from ahi.retrieval.bad_frames import BadFrames, tokens
from ahi.workers.pool import FetcherPool
from dicomweb import respond
from dicomweb.conditional import entity_tag
from dicomweb.errors import BadRequest, NotAcceptable, NotFound, ProxyError
from dicomweb.multipart import Part
from dicomweb.negotiation import Accept, ChosenOffer, Offer
from dicomweb.parameters import parse_parameters
from dicomweb.respond import Partial
from dicomweb.transfer_syntax import transfer_syntax
from wado.locate import LocatedInstance, Locator
from wado.outcome import LEFT_OUT, ItemReport, encode_report, log_reports, warning_texts
from wado.rendered.charset import Charsets
from wado.rendered.documents import read_document
from wado.rendered.frame_jobs import IMPLEMENTATION
from wado.rendered.object_jobs import ObjectPicture, ObjectThumbnail, render_object, render_thumbnail
from wado.rendered.plan import (
    FrameSelection,
    PicturePlan,
    index_of_representative,
    select_all_frames,
    select_frames,
)
from wado.rendered.presented_images import find_presented
from wado.rendered.rendered_images import RenderedImages
from wado.rendering.objects import POLICIES, kind_of
from wado.rendering.parameters import Rendering, parse_rendering, parse_thumbnail
from wado.rendering.presentation.references import SOP_CLASSES as STATES
from wado.representation import RENDERED_OFFERS, THUMBNAIL_OFFERS, plain_offers
from wado.target import LEVELS, Target, parse_frame_numbers

_MOST_QUERIES = 128  # parsed ones that are kept: a viewer sends the same query for each image of a series
_FRAMES = f"{LEVELS[-1]}/frames/<frame_list>"


def blueprint(service: "RenderedService") -> Blueprint:
    """The rendered resources at the levels of study, series, instance and frames."""
    bp = Blueprint("rendered", __name__)
    for path in (*LEVELS, _FRAMES):
        bp.add_url_rule(f"{path}/rendered", f"{path}/rendered", service.rendered)
        bp.add_url_rule(f"{path}/thumbnail", f"{path}/thumbnail", service.thumbnail)
    return bp


@dataclass(frozen=True)
class RenderedService:
    """The view functions and what they use. `public_root` gives the URL under which this client knows the service."""

    locator: Locator
    fetchers: FetcherPool
    images: RenderedImages
    public_root: Callable[[], str]
    bad_frames: BadFrames

    def rendered(self, frame_list: str | None = None, **path: str) -> Response:
        """Pictures of the target: a representative one, or all of them in multipart or as an animation."""
        target, numbers = Target.from_path(**path), parse_frame_numbers(frame_list) if frame_list else None
        rendering, unknown = _parse_rendering(request.query_string)
        located = self._located(target, numbers)
        if not numbers and target.level == "instance" and (video := self._video(located[0])):
            return video
        selections = select_frames(located[0], numbers) if numbers else select_all_frames(located)
        if selections:
            chosen = _choose(RENDERED_OFFERS)
            index = 0 if numbers or target.level == "instance" else index_of_representative(selections)
            answer = self._answer(PicturePlan(selections, index, chosen, rendering, may_substitute=not numbers))
        else:
            answer = self._without_frames(_first_renderable(located), rendering)
        return respond.warned(answer, [f"annotation {word} is not supported" for word in unknown])

    def thumbnail(self, frame_list: str | None = None, **path: str) -> Response:
        """One small picture that represents the target."""
        target, numbers = Target.from_path(**path), parse_frame_numbers(frame_list) if frame_list else None
        rendering = parse_thumbnail(parse_parameters(request.query_string))
        located = self._located(target, numbers)
        selections = select_frames(located[0], numbers) if numbers else select_all_frames(located)
        chosen = _choose(THUMBNAIL_OFFERS, multipart=False)
        if not selections:
            return self._thumbnail_without_frames(located[0], rendering, chosen)
        index = 0 if numbers else index_of_representative(selections)
        return self._answer(PicturePlan(selections, index, chosen, rendering, may_substitute=not numbers))

    def _video(self, instance: LocatedInstance) -> Response | None:
        """The way to the stream of a video, for a client that takes it; None for anything else.

        The stream is the one frame of the instance. Browsers follow the way with their ranges.
        """
        syntax = transfer_syntax(instance.prepared.transfer_syntax_uid)
        if not syntax.video or not instance.prepared.frames:
            return None
        accept = Accept.from_request(request.query_string, request.headers.get("Accept"))
        chosen = accept.find([Offer(syntax.media_type), *RENDERED_OFFERS], single=True, multipart=False)
        if chosen is None or chosen.offer.media_type != syntax.media_type:
            return None
        place = f"{self.public_root()}{instance.path}/frames/1?accept={quote(syntax.media_type)}"
        return Response(status=307, headers={"Location": place, "Vary": "Accept", "Cache-Control": respond.NO_CACHE})

    def _located(self, target: Target, numbers: Sequence[int] | None) -> list[LocatedInstance]:
        """The instances of the target, or the one instance that has the numbered frames."""
        return [self.locator.instance_with_frames(target, numbers)] if numbers else self.locator.instances(target)

    def _without_frames(self, instance: LocatedInstance, rendering: Rendering) -> Response:
        return self._state(instance, rendering) if _is_state(instance) else self._object(instance, rendering)

    def _state(self, state: LocatedInstance, rendering: Rendering) -> Response:
        """The images of a presentation state with the state applied: the first, or all in multipart."""
        if rendering.window:
            raise BadRequest("a window cannot be given together with a presentation state")
        presented = find_presented(self.locator, self.fetchers, state)
        selections = [FrameSelection(*frame) for frame in presented.frames]
        answer = self._answer(PicturePlan(selections, 0, _choose(RENDERED_OFFERS), rendering, state))
        warning = f"{presented.missing} of the images that the presentation state is for are not stored here"
        return respond.warned(answer, [warning] if presented.missing else [])

    def _answer(self, plan: PicturePlan) -> Response:
        """All pictures in multipart, else the one picture or animation."""
        multipart = plan.chosen.multipart
        root = self.public_root() if multipart else None
        notes = self.bad_frames.for_image_sets(one.instance.key for one in plan.selections) if multipart else {}
        tag = entity_tag("rendered", IMPLEMENTATION, root, plan.facts, tokens(notes))

        def make() -> Response | Partial:
            return self._multipart(plan, tag) if multipart else self._single(plan)

        return respond.unless_known(request.headers, tag, respond.NO_CACHE, "Accept", make)

    def _single(self, plan: PicturePlan) -> Response | Partial:
        """The picture, or the first of its substitutes that can be drawn."""
        candidates = plan.candidates
        pictures = chain(plan.pictures, (plan.picture([candidate]) for candidate in candidates[1:]))
        first = self.images.first_of(zip(pictures, (one.instance for one in candidates), strict=True))
        response = respond.single(first.body, plan.media_type)
        if not first.failed:
            return response
        reports = [_report(selection, error) for selection, error in zip(candidates, first.failed, strict=False)]
        log_reports(reports, len(candidates))
        failed = reports[0]
        return Partial(response, [f"another image stands for {failed.path}, which cannot be drawn: {failed.reason}"])

    def _multipart(self, plan: PicturePlan, tag: str) -> Response | Partial:
        reports: list[ItemReport] = []
        response = respond.multipart(
            self._parts(plan, reports), plan.media_type, tag, report=lambda: encode_report(reports)
        )
        return Partial(response, warning_texts(reports, len(plan.selections))) if reports else response

    def _parts(self, plan: PicturePlan, reports: list[ItemReport]) -> Iterator[Part]:
        """The pictures that can be drawn; the others are added to `reports`. If there is none, its reason is raised."""
        root = self.public_root()
        failed: list[tuple[ImageSetKey, str, int]] = []
        try:
            for selection, body in zip(plan.selections, self.images.each(plan.pictures), strict=True):
                if isinstance(body, ProxyError):
                    reports.append(_report(selection, body))
                    instance = selection.instance
                    failed.append((instance.key, instance.prepared.sop_instance_uid, selection.number))
                else:
                    yield _part(plan.media_type, root + plan.path(selection), body)
        finally:
            log_reports(reports, len(plan.selections))
            self.bad_frames.note_all(failed)
        if len(reports) == len(plan.selections):
            raise reports[0].reason

    def _object(self, instance: LocatedInstance, rendering: Rendering) -> Response:
        """An object without pixel data, as the document or drawing of its kind."""
        kind, root = kind_of(instance.prepared.sop_class_uid), self.public_root()
        if not kind.media_types:
            raise NotAcceptable("there is no image to draw")
        media_type = _choose(plain_offers(kind.media_types), multipart=False).offer.media_type
        charsets = Charsets.from_parameter(request.args.get("charset"))

        def make() -> Response:
            if kind.stored:
                body = read_document(instance, media_type)
            else:
                picture = ObjectPicture(instance.head, root, media_type, rendering)
                body = self.fetchers.run(instance.prepared.sop_instance_uid, render_object, picture)
            response = respond.single(*charsets.labelled(body, media_type))
            if media_type in POLICIES and not kind.stored:
                response.headers["Content-Security-Policy"] = POLICIES[media_type]
            return response

        tag = entity_tag("rendered", IMPLEMENTATION, root, instance.state, media_type, charsets, rendering)
        return respond.unless_known(request.headers, tag, respond.NO_CACHE, "Accept", make)

    def _thumbnail_without_frames(
        self, instance: LocatedInstance, rendering: Rendering, chosen: ChosenOffer
    ) -> Response:
        """For a presentation state the first image that it applies to, for any other object an icon."""
        if _is_state(instance):
            try:
                presented = find_presented(self.locator, self.fetchers, instance)
            except NotFound:
                return self._icon(instance, rendering, chosen.offer.media_type)
            return self._answer(PicturePlan([FrameSelection(*presented.frames[0])], 0, chosen, rendering, instance))
        return self._icon(instance, rendering, chosen.offer.media_type)

    def _icon(self, instance: LocatedInstance, rendering: Rendering, media_type: str) -> Response:
        sides = (rendering.viewport.columns, rendering.viewport.rows)
        columns, rows = (side or min(filter(None, sides)) for side in sides)
        thumbnail = ObjectThumbnail(instance.head, columns, rows, media_type)
        tag = entity_tag("icon", IMPLEMENTATION, instance.state, columns, rows, media_type)

        def make() -> Response:
            route = instance.prepared.sop_instance_uid
            return respond.single(self.fetchers.run(route, render_thumbnail, thumbnail), media_type)

        return respond.unless_known(request.headers, tag, respond.NO_CACHE, "Accept", make)


def _report(selection: FrameSelection, error: ProxyError) -> ItemReport:
    return ItemReport(LEFT_OUT, quote(selection.path, safe="/%"), error)


def _part(media_type: str, location: str, body: bytes) -> Part:
    return Part(media_type, location, len(body), lambda: [body])


def _first_renderable(located: Sequence[LocatedInstance]) -> LocatedInstance:
    """The first instance that can be rendered without pixel data; else the first."""
    renderable = (one for one in located if _is_state(one) or kind_of(one.prepared.sop_class_uid).media_types)
    return next(renderable, located[0])


def _is_state(instance: LocatedInstance) -> bool:
    return instance.prepared.sop_class_uid in STATES


@lru_cache(_MOST_QUERIES)
def _parse_rendering(query_string: bytes) -> tuple[Rendering, tuple[str, ...]]:
    return parse_rendering(parse_parameters(query_string))


def _choose(offers: tuple[Offer, ...], *, multipart: bool = True) -> ChosenOffer:
    """The offer that this request accepts; NotAcceptable if there is none."""
    return _choose_for(request.query_string, request.headers.get("Accept"), offers, multipart)


@lru_cache(_MOST_QUERIES)
def _choose_for(query_string: bytes, header: str | None, offers: tuple[Offer, ...], multipart: bool) -> ChosenOffer:
    return Accept.from_request(query_string, header).choose(offers, single=True, multipart=multipart)

"""`/rendered` and `/thumbnail`. Each route: aim, locate, agree on a media type, have it drawn in a fetcher, answer."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from urllib.parse import quote, urlencode

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
from wado.locate import LocatedInstance, Locator
from wado.outcome import LEFT_OUT, ItemReport, log_told, report_of, warnings_of
from wado.rendered.charset import Charsets
from wado.rendered.draw import IMPLEMENTATION, MOST_ANIMATED_FRAMES, Picture
from wado.rendered.objects import (
    POLICIES,
    ObjectPicture,
    ObjectThumbnail,
    document,
    kind_of,
    render_object,
    render_thumbnail,
)
from wado.rendered.presented_images import find_shown
from wado.rendered.rendered_images import RenderedImages
from wado.rendered.representative import candidates, middle_of_largest
from wado.rendering.encode import FORMATS
from wado.rendering.parameters import Rendering, parse_rendering, thumbnail
from wado.rendering.presentation.references import SOP_CLASSES as STATES
from wado.representation import RENDERED_OFFERS, THUMBNAIL_OFFERS
from wado.target import Target, parse_frame_numbers

_KEPT = 128  # queries: a viewer asks for all of a series in the same words
_STUDY = "/studies/<study>"
_SERIES = f"{_STUDY}/series/<series>"
_INSTANCE = f"{_SERIES}/instances/<instance>"
_FRAMES = f"{_INSTANCE}/frames/<frame_list>"


def blueprint(pictures: "Pictures") -> Blueprint:
    """The rendered resources."""
    bp = Blueprint("rendered", __name__)
    for path in (_STUDY, _SERIES, _INSTANCE, _FRAMES):
        bp.add_url_rule(f"{path}/rendered", f"{path}/rendered", pictures.rendered)
        bp.add_url_rule(f"{path}/thumbnail", f"{path}/thumbnail", pictures.thumbnail)
    return bp


@dataclass(frozen=True)
class FrameSelection:
    """One frame of one instance; `number` from 1."""

    instance: LocatedInstance
    number: int

    @property
    def path(self) -> str:
        """Where its picture is, below the service root."""
        return f"{self.instance.path}/frames/{self.number}/rendered"

    def path_by(self, state: LocatedInstance) -> str:
        """Where its picture is as a presentation state shows it: WADO-URI has a name for that."""
        parameters = {
            "requestType": "WADO",
            "studyUID": state.study_instance_uid,
            "seriesUID": self.instance.series_instance_uid,
            "objectUID": self.instance.prepared.sop_instance_uid,
            "frameNumber": self.number,
            "presentationSeriesUID": state.series_instance_uid,
            "presentationUID": state.prepared.sop_instance_uid,
        }
        return f"/wado?{urlencode(parameters, quote_via=quote)}"


@dataclass(frozen=True)
class Pictures:
    """The view functions, and what they use; `public_root` is the URL that this client knows the service by."""

    locator: Locator
    fetchers: FetcherPool
    drawn: RenderedImages
    public_root: Callable[[], str]
    bad_frames: BadFrames

    def rendered(self, frame_list: str | None = None, **path: str) -> Response:
        """Pictures of the target: one that stands for it, or, in multipart or as an animation, all."""
        target, numbers = Target.from_path(**path), parse_frame_numbers(frame_list) if frame_list else None
        rendering, unknown = _asked(request.query_string)
        located = self._located(target, numbers)
        selections = _frames(located[0], numbers) if numbers else _all_frames(located)
        if not selections:
            instance = _drawable(located)
            answer = self._state(instance, rendering) if _is_state(instance) else self._object(instance, rendering)
        else:
            chosen = _chosen(RENDERED_OFFERS)
            index = 0 if numbers or target.level == "instance" else middle_of_largest(_series_of(selections))
            answer = self._answer(selections, index, chosen, rendering, stands_for_all=not numbers)
        return respond.warned(answer, [f"annotation {word} is not supported" for word in unknown])

    def thumbnail(self, frame_list: str | None = None, **path: str) -> Response:
        """One small picture that stands for the target."""
        target, numbers = Target.from_path(**path), parse_frame_numbers(frame_list) if frame_list else None
        rendering = thumbnail(parse_parameters(request.query_string))
        located = self._located(target, numbers)
        selections = _frames(located[0], numbers) if numbers else _all_frames(located)
        chosen = _chosen(THUMBNAIL_OFFERS, multipart=False)
        if not selections:
            return self._stand_in(located[0], rendering, chosen)
        index = 0 if numbers else middle_of_largest(_series_of(selections))
        return self._answer(selections, index, chosen, rendering, stands_for_all=not numbers)

    def _located(self, target: Target, numbers: Sequence[int] | None) -> list[LocatedInstance]:
        """The instances of the target; the one that has the frames, where these are named."""
        return [self.locator.instance_with_frames(target, numbers)] if numbers else self.locator.instances(target)

    def _state(self, state: LocatedInstance, rendering: Rendering) -> Response:
        """The images that a presentation state is for, as it shows them: the first, or in multipart all."""
        if rendering.window:
            raise BadRequest("a window cannot be given together with a presentation state")
        shown = find_shown(self.locator, self.fetchers, state)
        chosen = _chosen(RENDERED_OFFERS)
        answer = self._answer([FrameSelection(*frame) for frame in shown.frames], 0, chosen, rendering, state)
        warning = f"{shown.missing} of the images that the presentation state is for are not stored here"
        return respond.warned(answer, [warning] if shown.missing else [])

    def _answer(
        self,
        selections: Sequence[FrameSelection],
        index: int,
        chosen: ChosenOffer,
        rendering: Rendering,
        state: LocatedInstance | None = None,
        *,
        stands_for_all: bool = False,
    ) -> Response:
        """All pictures in multipart, or an animation, where that is what was agreed on; else the one of the index.

        If that cannot be drawn and `stands_for_all`, it is another one. `state` is a presentation state that they are
        shown by.
        """
        media_type = chosen.offer.media_type
        one_instance = len({selection.instance.state for selection in selections}) == 1
        if chosen.multipart:
            drawn = [_picture([selection], media_type, rendering, state) for selection in selections]
        elif FORMATS[media_type].animated and one_instance and 1 < len(selections) <= MOST_ANIMATED_FRAMES:
            drawn = [_picture(selections, media_type, rendering, state)]
        else:
            drawn = [_picture([selections[index]], media_type, rendering, state)]
        states = (
            [selection.instance.state for selection in selections]
            if len(drawn) > 1
            else [selections[index].instance.state]
        )
        root = self.public_root() if chosen.multipart else None
        how = (media_type, chosen.multipart, rendering.facts, root)
        what = ([one.frame_numbers for one in drawn], states, state.state if state else None)
        notes = (
            self.bad_frames.for_image_sets(selection.instance.key for selection in selections)
            if chosen.multipart
            else {}
        )
        tag = entity_tag("rendered", IMPLEMENTATION, *how, *what, tokens(notes))

        def make() -> Response | Partial:
            if not chosen.multipart:
                (picture,) = drawn
                others = (
                    candidates(_series_of(selections), index)[1:] if stands_for_all and len(picture.frames) == 1 else []
                )
                pictures = (_picture([selections[other]], media_type, rendering, state) for other in others)
                return self._one(chain([picture], pictures), [selections[one] for one in (index, *others)], media_type)
            told: list[ItemReport] = []
            parts = self._parts(selections, drawn, state, told)
            response = respond.multipart(parts, media_type, tag, report=lambda: report_of(told))
            return Partial(response, warnings_of(told, len(selections))) if told else response

        return respond.unless_known(request.headers, tag, respond.NO_CACHE, "Accept", make)

    def _object(self, instance: LocatedInstance, rendering: Rendering) -> Response:
        """What is no image, as the document or the drawing that its kind has."""
        kind, root = kind_of(instance.prepared.sop_class_uid), self.public_root()
        if not kind.offers:
            raise NotAcceptable("there is no image to draw")
        media_type = _chosen(kind.offers, multipart=False).offer.media_type
        charsets = Charsets.from_parameter(request.args.get("charset"))

        def make() -> Response:
            if kind.stored:
                body = document(instance, media_type)
            else:
                picture = ObjectPicture(instance.head, root, media_type, rendering)
                body = self.fetchers.run(instance.prepared.sop_instance_uid, render_object, picture)
            response = respond.single(*charsets.labelled(body, media_type))
            if media_type in POLICIES and not kind.stored:
                response.headers["Content-Security-Policy"] = POLICIES[media_type]
            return response

        tag = entity_tag("rendered", IMPLEMENTATION, root, instance.state, media_type, charsets, rendering)
        return respond.unless_known(request.headers, tag, respond.NO_CACHE, "Accept", make)

    def _stand_in(self, instance: LocatedInstance, rendering: Rendering, chosen: ChosenOffer) -> Response:
        """The thumbnail of what is no image: of a presentation state the first image that it shows, else an icon."""
        if _is_state(instance):
            try:
                shown = find_shown(self.locator, self.fetchers, instance)
            except NotFound:
                return self._icon(instance, rendering, chosen.offer.media_type)
            return self._answer([FrameSelection(*shown.frames[0])], 0, chosen, rendering, instance)
        return self._icon(instance, rendering, chosen.offer.media_type)

    def _icon(self, instance: LocatedInstance, rendering: Rendering, media_type: str) -> Response:
        sides = (rendering.viewport.columns, rendering.viewport.rows)
        columns, rows = (side or min(filter(None, sides)) for side in sides)
        wanted = ObjectThumbnail(instance.head, columns, rows, media_type)
        tag = entity_tag("icon", IMPLEMENTATION, instance.state, columns, rows, media_type)

        def make() -> Response:
            route = instance.prepared.sop_instance_uid
            return respond.single(self.fetchers.run(route, render_thumbnail, wanted), media_type)

        return respond.unless_known(request.headers, tag, respond.NO_CACHE, "Accept", make)

    def _one(
        self, pictures: Iterable[Picture], selections: Sequence[FrameSelection], media_type: str
    ) -> Response | Partial:
        """The first of the pictures that can be drawn."""
        found = self.drawn.first_of(zip(pictures, (selection.instance for selection in selections), strict=True))
        response = respond.single(found.body, media_type)
        if not found.failed:
            return response
        told = [_told(selection, error) for selection, error in zip(selections, found.failed, strict=False)]
        log_told(told, len(selections))
        return Partial(response, [f"another image stands for {told[0].path}, which cannot be drawn: {told[0].reason}"])

    def _parts(
        self,
        selections: Sequence[FrameSelection],
        pictures: Sequence[Picture],
        state: LocatedInstance | None,
        told: list[ItemReport],
    ) -> Iterator[Part]:
        """The pictures that can be drawn; the others are added to `told`. If none can, the reason is raised."""
        root = self.public_root()
        failed: list[tuple[ImageSetKey, str, int]] = []
        try:
            for selection, picture, body in zip(selections, pictures, self.drawn.each(pictures), strict=True):
                if isinstance(body, ProxyError):
                    told.append(_told(selection, body))
                    failed.append(
                        (selection.instance.key, selection.instance.prepared.sop_instance_uid, selection.number)
                    )
                else:
                    yield _part(
                        picture.media_type, root + (selection.path_by(state) if state else selection.path), body
                    )
        finally:
            log_told(told, len(selections))
            self.bad_frames.note_all(failed)
        if len(told) == len(selections):
            raise told[0].reason


def _told(selection: FrameSelection, error: ProxyError) -> ItemReport:
    return ItemReport(LEFT_OUT, quote(selection.path, safe="/%"), error)


def _part(media_type: str, location: str, body: bytes) -> Part:
    return Part(media_type, location, len(body), lambda: [body])


def _picture(
    selections: Sequence[FrameSelection], media_type: str, rendering: Rendering, state: LocatedInstance | None
) -> Picture:
    instance = selections[0].instance
    references = tuple(instance.frame(selection.number) for selection in selections)
    numbers, how = tuple(selection.number for selection in selections), state.head if state else b""
    return Picture(references, numbers, instance.short_head, media_type, rendering, how)


def _drawable(located: Sequence[LocatedInstance]) -> LocatedInstance:
    """The first that can be rendered, without pixels as it is; else the first."""
    return next((one for one in located if _is_state(one) or kind_of(one.prepared.sop_class_uid).offers), located[0])


def _is_state(instance: LocatedInstance) -> bool:
    return instance.prepared.sop_class_uid in STATES


def _frames(instance: LocatedInstance, numbers: Sequence[int]) -> list[FrameSelection]:
    for number in numbers:
        instance.frame(number)  # NotFound beyond the last
    return [FrameSelection(instance, number) for number in numbers]


def _all_frames(instances: Iterable[LocatedInstance]) -> list[FrameSelection]:
    return [
        FrameSelection(instance, number + 1)
        for instance in instances
        if instance.prepared.pixels
        for number in range(len(instance.prepared.frames))
    ]


def _series_of(selections: Sequence[FrameSelection]) -> list[str]:
    """The series of each."""
    return [selection.instance.series_instance_uid for selection in selections]


@lru_cache(_KEPT)
def _asked(query_string: bytes) -> tuple[Rendering, tuple[str, ...]]:
    return parse_rendering(parse_parameters(query_string))


def _chosen(offers: tuple[Offer, ...], *, multipart: bool = True) -> ChosenOffer:
    """What is agreed on with this client."""
    return _best(request.query_string, request.headers.get("Accept"), offers, multipart)


@lru_cache(_KEPT)
def _best(query_string: bytes, header: str | None, offers: tuple[Offer, ...], multipart: bool) -> ChosenOffer:
    return Accept.from_request(query_string, header).choose(offers, single=True, multipart=multipart)

"""`/rendered` and `/thumbnail`. Each route: aim, locate, agree on a media type, have it drawn in a fetcher, answer."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, urlencode

from flask import Blueprint, Response, request

from ahi.fetchers import Fetchers
from dicomweb import respond
from dicomweb.conditional import entity_tag
from dicomweb.errors import BadRequest, NotAcceptable, NotFound
from dicomweb.multipart import Part
from dicomweb.parameters import parse_parameters
from wado.locate import LocatedInstance, Locator
from wado.rendered.charset import Charsets
from wado.rendered.draw import IMPLEMENTATION, MOST_ANIMATED_FRAMES, Picture
from wado.rendered.drawn import Drawn
from wado.rendered.encode import FORMATS
from wado.rendered.objects import (
    POLICIES,
    ObjectPicture,
    ObjectThumbnail,
    document,
    kind_of,
    render_object,
    render_thumbnail,
)
from wado.rendered.parameters import Rendering, parse_rendering, thumbnail
from wado.rendered.presentation.references import SOP_CLASSES as STATES
from wado.rendered.presentation.shown import find_shown
from wado.representation import RENDERED_OFFERS, THUMBNAIL_OFFERS, Accept, Chosen, Offer
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
class Shot:
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
    fetchers: Fetchers
    drawn: Drawn
    public_root: Callable[[], str]

    def rendered(self, frame_list: str | None = None, **path: str) -> Response:
        """Pictures of the target: one that stands for it, or, in multipart or as an animation, all."""
        target, numbers = Target.from_path(**path), parse_frame_numbers(frame_list) if frame_list else None
        rendering, unknown = _asked(request.query_string)
        located = self._located(target, numbers)
        shots = _frames(located[0], numbers) if numbers else _all_frames(located)
        if not shots:
            instance = _drawable(located)
            answer = self._state(instance, rendering) if _is_state(instance) else self._object(instance, rendering)
        else:
            chosen = _chosen(RENDERED_OFFERS)
            answer = self._answer(shots, _standing_for(target, located, numbers), chosen, rendering)
        return respond.warned(answer, [f"annotation {word} is not supported" for word in unknown])

    def thumbnail(self, frame_list: str | None = None, **path: str) -> Response:
        """One small picture that stands for the target."""
        target, numbers = Target.from_path(**path), parse_frame_numbers(frame_list) if frame_list else None
        rendering = thumbnail(parse_parameters(request.query_string))
        located = self._located(target, numbers)
        shots = _frames(located[0], numbers) if numbers else _all_frames(located)
        chosen = _chosen(THUMBNAIL_OFFERS, multipart=False)
        if not shots:
            return self._stand_in(located[0], rendering, chosen)
        return self._answer(shots, 0 if numbers else _middle_of_largest(shots), chosen, rendering)

    def _located(self, target: Target, numbers: Sequence[int] | None) -> list[LocatedInstance]:
        """The instances of the target; the one that has the frames, where these are named."""
        return [self.locator.instance_with_frames(target, numbers)] if numbers else self.locator.instances(target)

    def _state(self, state: LocatedInstance, rendering: Rendering) -> Response:
        """The images that a presentation state is for, as it shows them: the first, or in multipart all."""
        if rendering.window:
            raise BadRequest("a window cannot be given together with a presentation state")
        shown = find_shown(self.locator, self.fetchers, state)
        chosen = _chosen(RENDERED_OFFERS)
        answer = self._answer([Shot(*frame) for frame in shown.frames], 0, chosen, rendering, state)
        warning = f"{shown.missing} of the images that the presentation state is for are not stored here"
        return respond.warned(answer, [warning] if shown.missing else [])

    def _answer(
        self,
        shots: Sequence[Shot],
        index: int,
        chosen: Chosen,
        rendering: Rendering,
        state: LocatedInstance | None = None,
    ) -> Response:
        """All pictures in multipart, or an animation, where that is what was agreed on; else the one of the index.

        `state` is a presentation state that they are shown by.
        """
        media_type = chosen.offer.media_type
        one_instance = len({shot.instance.state for shot in shots}) == 1
        if chosen.multipart:
            drawn = [_picture([shot], media_type, rendering, state) for shot in shots]
        elif FORMATS[media_type].animated and one_instance and 1 < len(shots) <= MOST_ANIMATED_FRAMES:
            drawn = [_picture(shots, media_type, rendering, state)]
        else:
            drawn = [_picture([shots[index]], media_type, rendering, state)]
        states = [shot.instance.state for shot in shots] if len(drawn) > 1 else [shots[index].instance.state]
        root = self.public_root()
        how = (media_type, chosen.multipart, rendering.facts, root if chosen.multipart else None)
        what = ([one.frame_numbers for one in drawn], states, state.state if state else None)
        tag = entity_tag("rendered", IMPLEMENTATION, *how, *what)

        def make() -> Response:
            if not chosen.multipart:
                (picture,) = drawn
                return respond.single(self.drawn.one(picture, shots[index].instance), media_type)
            locations = [root + (shot.path_by(state) if state else shot.path) for shot in shots]
            return respond.multipart(self._parts(drawn, locations), media_type, tag)

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

    def _stand_in(self, instance: LocatedInstance, rendering: Rendering, chosen: Chosen) -> Response:
        """The thumbnail of what is no image: of a presentation state the first image that it shows, else an icon."""
        if _is_state(instance):
            try:
                shown = find_shown(self.locator, self.fetchers, instance)
            except NotFound:
                return self._icon(instance, rendering, chosen.offer.media_type)
            return self._answer([Shot(*shown.frames[0])], 0, chosen, rendering, instance)
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

    def _parts(self, pictures: Sequence[Picture], locations: Iterable[str]) -> Iterator[Part]:
        for picture, location, body in zip(pictures, locations, self.drawn.each(pictures), strict=True):
            yield _part(picture.media_type, location, body)


def _part(media_type: str, location: str, body: bytes) -> Part:
    return Part(media_type, location, len(body), lambda: [body])


def _picture(shots: Sequence[Shot], media_type: str, rendering: Rendering, state: LocatedInstance | None) -> Picture:
    instance = shots[0].instance
    references = tuple(instance.frame(shot.number) for shot in shots)
    numbers, how = tuple(shot.number for shot in shots), state.head if state else b""
    return Picture(references, numbers, instance.short_head, media_type, rendering, how)


def _drawable(located: Sequence[LocatedInstance]) -> LocatedInstance:
    """The first that can be rendered, without pixels as it is; else the first."""
    return next((one for one in located if _is_state(one) or kind_of(one.prepared.sop_class_uid).offers), located[0])


def _is_state(instance: LocatedInstance) -> bool:
    return instance.prepared.sop_class_uid in STATES


def _frames(instance: LocatedInstance, numbers: Sequence[int]) -> list[Shot]:
    for number in numbers:
        instance.frame(number)  # NotFound beyond the last
    return [Shot(instance, number) for number in numbers]


def _all_frames(instances: Iterable[LocatedInstance]) -> list[Shot]:
    return [
        Shot(instance, number + 1)
        for instance in instances
        if instance.prepared.pixels
        for number in range(len(instance.prepared.frames))
    ]


def _standing_for(target: Target, located: Sequence[LocatedInstance], numbers: Sequence[int] | None) -> int:
    """Which of all frames is the picture of the target: of an instance or of frames the first."""
    return 0 if numbers or target.level == "instance" else _middle_of_largest(_all_frames(located))


def _middle_of_largest(shots: Sequence[Shot]) -> int:
    """The index of the middle frame of the series that has the most."""
    if not shots:
        return 0
    counts = Counter(shot.instance.series_instance_uid for shot in shots)
    largest = max(counts, key=lambda series: counts[series])
    of_series = [index for index, shot in enumerate(shots) if shot.instance.series_instance_uid == largest]
    return of_series[len(of_series) // 2]


@lru_cache(_KEPT)
def _asked(query_string: bytes) -> tuple[Rendering, tuple[str, ...]]:
    return parse_rendering(parse_parameters(query_string))


def _chosen(offers: tuple[Offer, ...], *, multipart: bool = True) -> Chosen:
    """What is agreed on with this client."""
    return _best(request.query_string, request.headers.get("Accept"), offers, multipart)


@lru_cache(_KEPT)
def _best(query_string: bytes, header: str | None, offers: tuple[Offer, ...], multipart: bool) -> Chosen:
    named = [value for name, value in parse_parameters(query_string) if name == "accept"]
    return Accept.from_request(named, header).choose(offers, single=True, multipart=multipart)

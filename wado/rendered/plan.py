"""The pictures of an answer, as a value: which frames, in which media type, how drawn. Runs in the web processes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, urlencode

from dicomweb.negotiation import ChosenOffer
from wado.locate import LocatedInstance
from wado.rendered.frame_jobs import MOST_ANIMATED_FRAMES, Picture
from wado.rendered.representative import alternatives, middle_of_largest
from wado.rendering.encode import FORMATS
from wado.rendering.parameters import Rendering


@dataclass(frozen=True)
class FrameSelection:
    """One frame of one instance; `number` counts from 1."""

    instance: LocatedInstance
    number: int

    @property
    def path(self) -> str:
        """The path of its picture, below the service root."""
        return f"{self.instance.path}/frames/{self.number}/rendered"

    def path_with(self, state: LocatedInstance) -> str:
        """The path of its picture with a presentation state applied: only WADO-URI has one."""
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


def select_frames(instance: LocatedInstance, numbers: Sequence[int]) -> list[FrameSelection]:
    """The numbered frames of an instance; NotFound beyond the last."""
    for number in numbers:
        instance.frame(number)
    return [FrameSelection(instance, number) for number in numbers]


def select_all_frames(instances: Iterable[LocatedInstance]) -> list[FrameSelection]:
    """Every frame that can be drawn, instance by instance."""
    return [
        FrameSelection(instance, number + 1)
        for instance in instances
        if instance.prepared.pixels
        for number in range(len(instance.prepared.frames))
    ]


def index_of_representative(selections: Sequence[FrameSelection]) -> int:
    """The index of the frame that stands for all: the middle one of the largest series."""
    return middle_of_largest(_series_of(selections))


@dataclass(frozen=True)
class PicturePlan:
    """The pictures of one answer: of every selected frame in multipart, one animation, or one picture.

    `index` is that of the selection that stands for all. `may_substitute`: if it cannot be drawn, another one may take
    its place. `state` is a presentation state to apply.
    """

    selections: Sequence[FrameSelection]
    index: int
    chosen: ChosenOffer
    rendering: Rendering
    state: LocatedInstance | None = None
    may_substitute: bool = False

    @property
    def media_type(self) -> str:
        """The media type of each picture."""
        return self.chosen.offer.media_type

    @cached_property
    def pictures(self) -> list[Picture]:
        """The pictures that are to be drawn."""
        if self.chosen.multipart:
            return [self.picture([selection]) for selection in self.selections]
        one_instance = len({selection.instance.state for selection in self.selections}) == 1
        few = 1 < len(self.selections) <= MOST_ANIMATED_FRAMES
        if FORMATS[self.media_type].animated and one_instance and few:
            return [self.picture(self.selections)]
        return [self.picture([self.selections[self.index]])]

    @property
    def candidates(self) -> list[FrameSelection]:
        """The selection that stands for all, then those that may take its place."""
        indexes = [self.index]
        if self.may_substitute and len(self.pictures[0].frames) == 1:
            indexes += alternatives(_series_of(self.selections), self.index)
        return [self.selections[index] for index in indexes]

    @property
    def facts(self) -> tuple[object, ...]:
        """The facts that an entity tag of the answer depends on."""
        tagged = self.selections if len(self.pictures) > 1 else [self.selections[self.index]]
        states = [selection.instance.state for selection in tagged]
        numbers = [picture.frame_numbers for picture in self.pictures]
        state = self.state.state if self.state else None
        return (self.media_type, self.chosen.multipart, self.rendering.facts, numbers, states, state)

    def picture(self, selections: Sequence[FrameSelection]) -> Picture:
        """The request for a picture of a frame, or for an animation of several frames of one instance."""
        instance = selections[0].instance
        references = tuple(instance.frame(selection.number) for selection in selections)
        numbers, state = tuple(selection.number for selection in selections), self.state.head if self.state else b""
        return Picture(references, numbers, instance.short_head, self.media_type, self.rendering, state)

    def path(self, selection: FrameSelection) -> str:
        """The path of a picture, below the service root."""
        return selection.path_with(self.state) if self.state else selection.path


def _series_of(selections: Sequence[FrameSelection]) -> list[str]:
    return [selection.instance.series_instance_uid for selection in selections]

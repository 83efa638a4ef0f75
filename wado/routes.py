"""The resources of WADO-RS (PS3.18 Section 10.4). Each route: aim, locate, agree on a representation, answer."""

from collections.abc import Callable, Sequence

from flask import Blueprint, Response, request

from ahi.fetchers import Fetchers
from ahi.store import Frames
from dicomweb import respond
from dicomweb.errors import NotAcceptable
from dicomweb.multipart import Part
from dicomweb.parameters import parse_parameters
from wado.frames import encode_frames
from wado.locate import LocatedInstance, Locator
from wado.part10 import encode_part10
from wado.rendered import Picture, render
from wado.representation import (
    METADATA_OFFERS,
    RENDERED_OFFERS,
    Accept,
    Offer,
    frame_offers,
    instance_offers,
)
from wado.target import Target, parse_frame_numbers

_STUDY = "/studies/<study>"
_SERIES = f"{_STUDY}/series/<series>"
_INSTANCE = f"{_SERIES}/instances/<instance>"
_LEVELS = (_STUDY, _SERIES, _INSTANCE)


def blueprint(locator: Locator, frames: Frames, fetchers: Fetchers, public_root: Callable[[], str]) -> Blueprint:
    """The retrieve resources; `public_root` gives the URL that the client of this request knows the service by."""
    bp = Blueprint("wado", __name__)
    retrieve = _Retrieve(locator, frames, fetchers, public_root)
    for path in _LEVELS:
        bp.add_url_rule(path, path, retrieve.instances)
        bp.add_url_rule(f"{path}/metadata", f"{path}/metadata", retrieve.metadata)
        bp.add_url_rule(f"{path}/rendered", f"{path}/rendered", retrieve.rendered)
    bp.add_url_rule(f"{_INSTANCE}/frames/<frame_list>", "frames", retrieve.frames)
    bp.add_url_rule(f"{_INSTANCE}/frames/<frame_list>/rendered", "rendered_frame", retrieve.rendered_frame)
    return bp


class _Retrieve:
    """The view functions, and what they use."""

    def __init__(self, locator: Locator, frames: Frames, fetchers: Fetchers, public_root: Callable[[], str]) -> None:
        self._locator = locator
        self._frames = frames
        self._fetchers = fetchers
        self._public_root = public_root

    def instances(self, **path: str) -> Response:
        """Part 10 objects."""
        target = Target.from_path(**path)
        located = self._locator.instances(target)
        accept, single = _accept(), target.level == "instance"
        chosen = [accept.choose(_offers(one), single=single) for one in located]
        files = [encode_part10(one, each.offer, self._frames) for one, each in zip(located, chosen, strict=True)]
        if single and chosen[0].multipart is False:
            return respond.stream(files[0].chunks(), chosen[0].offer.content_type, files[0].length_bytes)
        parts = [
            Part(each.offer.content_type, self._public_root() + one.path, file.length_bytes, file.chunks)
            for one, each, file in zip(located, chosen, files, strict=True)
        ]
        return respond.multipart(parts, "application/dicom")

    def metadata(self, **path: str) -> Response:
        """The data sets without pixel data, as DICOM JSON."""
        located = self._locator.instances(Target.from_path(**path))
        _accept().choose(METADATA_OFFERS, single=True)
        root = self._public_root()
        return respond.dicom_json_text([one.image_set.metadata(one.prepared, root) for one in located])

    def frames(self, frame_list: str, **path: str) -> Response:
        """Frames, stored or native."""
        target, numbers = Target.from_path(**path), parse_frame_numbers(frame_list)
        instance = self._locator.instance(target)
        references = [instance.frame(number) for number in numbers]
        locations = [f"{self._public_root()}{instance.path}/frames/{number}" for number in numbers]
        single = len(numbers) == 1
        chosen = _accept().choose(frame_offers(instance.prepared.transfer_syntax_uid), single=single)
        parts = encode_frames(references, locations, chosen.offer, self._frames)
        if chosen.multipart is False:
            return respond.stream(parts[0].chunks(), chosen.offer.content_type, parts[0].length_bytes)
        return respond.multipart(parts, chosen.offer.media_type)

    def rendered(self, **path: str) -> Response:
        """A picture of the target: of an instance its first frame, else the middle one of its images."""
        return self._picture(_representative(self._locator.instances(Target.from_path(**path))), 1)

    def rendered_frame(self, frame_list: str, **path: str) -> Response:
        """A picture of one frame."""
        target, numbers = Target.from_path(**path), parse_frame_numbers(frame_list)
        return self._picture(self._locator.instance(target), numbers[0])

    def _picture(self, instance: LocatedInstance, frame_number: int) -> Response:
        reference = instance.frame(frame_number)
        offer = _accept().choose(RENDERED_OFFERS, single=True, multipart=False).offer
        head = instance.image_set.block(instance.prepared.native_head)
        picture = Picture(reference, frame_number, head, offer.media_type)
        body = self._fetchers.run(reference.frame.frame_id, render, picture)
        return respond.single(body, offer.content_type)


def _accept() -> Accept:
    parameters = parse_parameters(request.query_string)
    return Accept.from_request([value for name, value in parameters if name == "accept"], request.headers.get("Accept"))


def _offers(instance: LocatedInstance) -> tuple[Offer, ...]:
    return instance_offers(instance.prepared.transfer_syntax_uid, bool(instance.prepared.frames))


def _representative(instances: Sequence[LocatedInstance]) -> LocatedInstance:
    images = [instance for instance in instances if instance.prepared.pixels]
    if not images:
        raise NotAcceptable("there is no image to draw")
    return images[len(images) // 2]

"""The resources of WADO-RS (PS3.18 Section 10.4). Each route: aim, locate, agree on a representation, answer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from flask import Blueprint, Response, request

from ahi.ahead import Ahead, Asked
from ahi.fetchers import Fetchers
from ahi.jobs import FrameReference
from ahi.store import Frames
from dicomweb import respond
from dicomweb.conditional import entity_tag
from dicomweb.errors import NotFound
from dicomweb.file_piece import Chunk
from dicomweb.multipart import Part
from dicomweb.parameters import parse_parameters
from wado.archive import encode_zip
from wado.bulk import agree_on_bulk, encode_bulk
from wado.files import agree_on_files, encode_parts
from wado.frames import all_frames, encode_frames, resolution_header
from wado.locate import Locator
from wado.part10 import fetch_for
from wado.representation import ZIP, Accept, FileChoice, Kind, Offer, agree, bulk_offers
from wado.target import LEVELS, Target, parse_frame_numbers

_INSTANCE = LEVELS[-1]

_MAIN_HEADER_BYTES = 4096  # more than the main header of a codestream has, as a rule


def blueprint(retrieve: "Retrieve") -> Blueprint:
    """The retrieve resources."""
    bp = Blueprint("wado", __name__)
    for path in LEVELS:
        bp.add_url_rule(path, path, retrieve.instances)
        bp.add_url_rule(f"{path}/pixeldata", f"{path}/pixeldata", retrieve.pixel_data)
        bp.add_url_rule(f"{path}/bulkdata", f"{path}/bulkdata", retrieve.bulk_data)
    bp.add_url_rule(f"{_INSTANCE}/bulkdata/7FE00010", "pixel_data", retrieve.pixel_data)
    bp.add_url_rule(f"{_INSTANCE}/bulkdata/<path:tag_path>", "bulk_value", retrieve.bulk_value)
    bp.add_url_rule(f"{_INSTANCE}/frames/<frame_list>", "frames", retrieve.frames)
    return bp


@dataclass(frozen=True)
class Retrieve:
    """The view functions, and what they use; `public_root` is the URL that this client knows the service by."""

    locator: Locator
    stored: Frames
    ahead: Ahead
    fetchers: Fetchers
    public_root: Callable[[], str]
    file_choice: FileChoice

    def instances(self, **path: str) -> Response:
        """Part 10 objects."""
        target = Target.from_path(**path)
        located = self.locator.instances(target)
        single, accept = target.level == "instance", replace(_accept(), files=self.file_choice)
        files, chosen = agree_on_files(located, accept, self.stored, single=single)
        root, media_type = self.public_root(), chosen.offer.media_type
        offers = [file.offer for file in files]
        tag = entity_tag("instances", root, chosen, offers, [one.state for one in located])

        def make() -> Response:
            fetch = fetch_for(files, self.stored)
            if media_type == ZIP:
                return respond.download(encode_zip(files, fetch), ZIP, f"{target.uid}.zip")
            if single and chosen.multipart is False:
                chunks = files[0].chunks(fetch(files[0]))
                return respond.stream(chunks, chosen.offer.content_type, files[0].length_bytes)
            return respond.multipart(encode_parts(files, root, fetch), media_type, tag)

        return _unless_known(tag, make)

    def frames(self, frame_list: str, **path: str) -> Response:
        """Frames, stored or native."""
        target, numbers = Target.from_path(**path), parse_frame_numbers(frame_list)
        instance = self.locator.instance_with_frames(target, numbers)
        references = [instance.frame(number) for number in numbers]
        locations = [f"{self.public_root()}{instance.path}/frames/{number}" for number in numbers]
        single = len(numbers) == 1
        chosen = _accept().choose(Kind.of(instance.prepared).frames, single=single)
        offer = chosen.offer
        tag = entity_tag("frames", chosen, references, None if chosen.multipart is False else locations)

        def make() -> Response:
            asked = Asked(instance.key, instance.image_set, instance.prepared, numbers[-1], offer.form)
            self.ahead.note(asked, missed=not self.stored.has(references[-1], offer.form))
            if chosen.multipart is False:
                return self._single_frame(references[0], offer, tag)
            parts = encode_frames(references, locations, offer, self.stored)
            if single:  # viewers load a frame bit by bit, and ask for multipart all the same
                return respond.ranged_multipart(request.headers, parts, offer.media_type, tag)
            return respond.multipart(parts, offer.media_type, tag)

        return _unless_known(tag, make, cache_control=respond.IMMUTABLE)

    def _single_frame(self, reference: FrameReference, offer: Offer, tag: str) -> Response:
        def read(start: int, stop: int) -> Iterator[Chunk]:
            return self.stored.chunks(reference, offer.form, start, stop)

        length_bytes = self.stored.size(reference, offer.form)
        response = respond.ranged(request.headers, tag, offer.content_type, length_bytes, read)
        response.headers.update(resolution_header(offer, bytes(next(read(0, _MAIN_HEADER_BYTES), b""))))
        return response

    def pixel_data(self, **path: str) -> Response:
        """The pixel data of all instances, a part for each frame; a single part where there is one frame."""
        target = Target.from_path(**path)
        if target.level == "instance":
            located = [self.locator.instance_with_frames(target, [1])]
        else:
            located = self.locator.instances(target)
        located = [one for one in located if one.prepared.frames]
        if not located:
            raise NotFound("there is no pixel data")
        accept, root = _accept(), self.public_root()
        single = len(located) == 1 and len(located[0].prepared.frames) == 1
        kinds = [Kind.of(one.prepared) for one in located]
        chosen = agree({kind: kind.frames for kind in dict.fromkeys(kinds)}, accept, single=single)
        first = next(iter(chosen.values()))
        offers = [chosen[kind].offer for kind in kinds]
        tag = entity_tag("pixeldata", root, first, offers, [one.state for one in located])

        def make() -> Response:
            if single and first.multipart is False:
                return self._single_frame(located[0].frame(1), first.offer, tag)
            parts = (
                part
                for one, offer in zip(located, offers, strict=True)
                for part in all_frames(one, offer, root, self.stored)
            )
            return respond.multipart(parts, first.offer.media_type, tag)

        return _unless_known(tag, make)

    def bulk_data(self, **path: str) -> Response:
        """Every value that the metadata points to, a part for each, and pixel data a part for each frame."""
        located = self.locator.instances(Target.from_path(**path))
        located = [one for one in located if one.prepared.frames or one.prepared.bulk]
        if not located:
            raise NotFound("there is no bulk data")
        root = self.public_root()
        offers = agree_on_bulk(located, _accept())
        tag = entity_tag("bulkdata", root, sorted(offers.items(), key=repr), [one.state for one in located])

        def make() -> Response:
            parts = encode_bulk(located, offers, root, self.stored)
            return respond.multipart(parts, next(iter(offers.values())).media_type, tag)

        return _unless_known(tag, make)

    def bulk_value(self, tag_path: str, **path: str) -> Response:
        """One value that the metadata points to."""
        instance = self.locator.instance_with(
            Target.from_path(**path), lambda one: one.bulk_value(tag_path) is not None
        )
        value = instance.bulk(tag_path)
        chosen = _accept().choose(bulk_offers(value.media_type), single=True)
        location = f"{self.public_root()}{instance.path}/bulkdata/{value.path}"
        tag = entity_tag("bulkdata", chosen, location, instance.state)

        def make() -> Response:
            content_type, body = chosen.offer.content_type, instance.image_set.block(value.where)
            if chosen.multipart:
                parts = [Part(content_type, location, len(body), lambda: [body])]
                return respond.multipart(parts, chosen.offer.media_type, tag)
            return respond.ranged(request.headers, tag, content_type, len(body), lambda start, stop: [body[start:stop]])

        return _unless_known(tag, make)


def _unless_known(
    tag: str, make: Callable[[], Response], *, cache_control: str = respond.NO_CACHE, vary: str = "Accept"
) -> Response:
    return respond.unless_known(request.headers, tag, cache_control, vary, make)


def _accept() -> Accept:
    parameters = parse_parameters(request.query_string)
    return Accept.from_request([value for name, value in parameters if name == "accept"], request.headers.get("Accept"))

"""The resources of WADO-RS (PS3.18 Section 10.4). Each route: aim, locate, agree on a representation, answer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

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
from wado.archive import encode_zip, zip_length
from wado.bulk import agree_on_bulk, encode_bulk
from wado.files import agree_on_files, encode_parts
from wado.frames import SentFrame, encode_frames, frames_of, part_of, resolution_header
from wado.locate import IMPLEMENTATION, LocatedInstance, Locator
from wado.part10 import fetch_for
from wado.representation import ZIP, Accept, Chosen, FileChoice, Kind, Offer, agree, bulk_offers
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
    for tag in ("7FE00010", "7FE00008", "7FE00009"):
        bp.add_url_rule(f"{_INSTANCE}/bulkdata/{tag}", f"bulkdata/{tag}", partial(retrieve.pixel_data, tag))
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
        """Part 10 objects; or their bulk data, where that is what the client takes (PS3.18 Section B.10)."""
        target = Target.from_path(**path)
        located = self.locator.instances(target)
        single, accept = target.level == "instance", replace(_accept(), files=self.file_choice)
        if accept.means_bulk_data:
            return self._all_bulk(located, accept)
        files, chosen = agree_on_files(located, accept, self.stored, single=single)
        root, media_type = self.public_root(), chosen.offer.media_type
        offers = [file.offer for file in files]
        tag = entity_tag("instances", root, chosen, offers, [one.state for one in located])

        def make() -> Response:
            fetch = fetch_for(files, self.stored)
            if media_type == ZIP:
                return respond.download(encode_zip(files, fetch), ZIP, f"{target.uid}.zip", zip_length(files))
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
        single, root = len(numbers) == 1, self.public_root()
        chosen = _accept().choose(Kind.of(instance.prepared).frames, single=single)
        sent = [SentFrame(instance, number, chosen.offer) for number in numbers]
        locations = None if chosen.multipart is False else (root, instance.path, numbers)
        tag = entity_tag("frames", IMPLEMENTATION, chosen, references, locations)

        def make() -> Response:
            last, form = references[-1], chosen.offer.form
            kept = self.stored.kept(last, form)
            asked = Asked(instance.key, instance.image_set, instance.prepared, numbers[-1], form)
            self.ahead.note(asked, missed=kept is None)
            if single and chosen.multipart is not False:
                return _one_part(sent[0], kept or self.stored.body(last, form), root, tag)
            return self._frames(sent, chosen, root, tag)

        return _unless_known(tag, make, cache_control=respond.IMMUTABLE)

    def _frames(self, sent: Sequence[SentFrame], chosen: Chosen, public_root: str, tag: str) -> Response:
        """The frames in the wrapping agreed on; `chosen` speaks for all of them."""
        if chosen.multipart is False:
            return self._single_frame(sent[0].reference, chosen.offer, tag)
        if len(sent) == 1:
            return _one_part(sent[0], self.stored.body(sent[0].reference, sent[0].offer.form), public_root, tag)
        return respond.multipart(encode_frames(sent, public_root, self.stored), chosen.offer.media_type, tag)

    def _single_frame(self, reference: FrameReference, offer: Offer, tag: str) -> Response:
        def read(start: int, stop: int) -> Iterator[Chunk]:
            return self.stored.chunks(reference, offer.form, start, stop)

        length_bytes = self.stored.size(reference, offer.form)
        response = respond.ranged(request.headers, tag, offer.content_type, length_bytes, read)
        response.headers.update(resolution_header(offer, bytes(next(read(0, _MAIN_HEADER_BYTES), b""))))
        return response

    def pixel_data(self, tag: str | None = None, **path: str) -> Response:
        """The pixel data of all instances, a part for each frame; a single part where there is one frame.

        `tag` is the element that it has to be.
        """
        target = Target.from_path(**path)
        if target.level == "instance":
            located = [self.locator.instance_with_frames(target, [1])]
        else:
            located = self.locator.instances(target)
        located = [one for one in located if one.prepared.frames and tag in (None, one.prepared.pixel_element[0])]
        if not located:
            raise NotFound("there is no pixel data")
        single = len(located) == 1 and len(located[0].prepared.frames) == 1
        kinds = [Kind.of(one.prepared) for one in located]
        chosen = agree({kind: kind.frames for kind in dict.fromkeys(kinds)}, _accept(), single=single)
        first = next(iter(chosen.values()))
        offers = [chosen[kind].offer for kind in kinds]
        root = self.public_root()
        etag = entity_tag("pixeldata", root, first, offers, [one.state for one in located])
        sent = frames_of(zip(located, offers, strict=True))
        return _unless_known(etag, lambda: self._frames(sent, first, root, etag))

    def bulk_data(self, **path: str) -> Response:
        """Every value that the metadata points to, a part for each, and pixel data a part for each frame."""
        return self._all_bulk(self.locator.instances(Target.from_path(**path)), _accept())

    def _all_bulk(self, located: Sequence[LocatedInstance], accept: Accept) -> Response:
        located = [one for one in located if one.prepared.frames or one.prepared.bulk]
        if not located:
            raise NotFound("there is no bulk data")
        root = self.public_root()
        offers = agree_on_bulk(located, accept)
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

            def part(start: int, stop: int) -> Part:
                return Part(content_type, location, stop - start, lambda: [body[start:stop]])

            if chosen.multipart:
                media_type = chosen.offer.media_type
                return respond.multipart_of_range(request.headers, part, len(body), media_type, tag)
            return respond.ranged(request.headers, tag, content_type, len(body), lambda start, stop: [body[start:stop]])

        return _unless_known(tag, make)


def _one_part(sent: SentFrame, body: Chunk, public_root: str, tag: str) -> Response:
    """One frame in multipart; viewers load it bit by bit, and ask for multipart all the same."""
    return respond.ranged_multipart(request.headers, [part_of(sent, public_root, body)], sent.offer.media_type, tag)


def _unless_known(
    tag: str, make: Callable[[], Response], *, cache_control: str = respond.NO_CACHE, vary: str = "Accept"
) -> Response:
    return respond.unless_known(request.headers, tag, cache_control, vary, make)


def _accept() -> Accept:
    parameters = parse_parameters(request.query_string)
    accepted = [value for name, value in parameters if name == "accept"]
    syntax = next((value for name, value in parameters if name == "transfer-syntax"), None)
    return Accept.from_request(accepted, request.headers.get("Accept"), syntax)

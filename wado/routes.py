"""The resources of WADO-RS (PS3.18 Section 10.4), in the web processes.

Each route parses its target, locates the instances, agrees on a representation, and responds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from flask import Blueprint, Response, request

from ahi.retrieval.bad_frames import BadFrames, NotesByImageSet, tokens
from ahi.retrieval.frames import Frames
from ahi.retrieval.lookahead import FrameAccess, FrameLookahead
from ahi.workers.pool import FetcherPool
from dicomweb import respond
from dicomweb.attribute_paths import parse_bulk_path
from dicomweb.conditional import entity_tag
from dicomweb.errors import NotFound
from dicomweb.media_types import DICOM, ZIP
from dicomweb.multipart import Part
from dicomweb.negotiation import Accept, ChosenOffer, FileChoice
from dicomweb.respond import Partial
from runtime.file_piece import Chunk
from wado.archive import zip_length
from wado.bulk import agree_on_bulk, all_bulk, part_of_bulk, plan_bulk, stored_bulk
from wado.delivery import Delivery, encode_parts
from wado.files import (
    agree_on_files,
    encode_archive,
    encode_file,
    missing_frames,
    missing_pixel_data,
    part_of_file,
    plan_parts,
    stored_file,
)
from wado.frames import WAITED_FOR, SentFrame, frames_of, part_of, plan_frames, resolution_header, stored_frame
from wado.locate import IMPLEMENTATION, LocatedInstance, Locator
from wado.outcome import ItemT
from wado.part10 import Part10
from wado.representation import InstanceKind, agree, bulk_offers
from wado.target import LEVELS, Target, parse_frame_numbers

_INSTANCE = LEVELS[-1]
_PIXEL_DATA = ("7FE00010", "7FE00008", "7FE00009")

_MAIN_HEADER_BYTES = 4096  # usually more than the main header of a codestream has


def blueprint(service: "RetrieveService") -> Blueprint:
    """The resources of instances, pixel data, bulk data and frames."""
    bp = Blueprint("wado", __name__)
    for path in LEVELS:
        bp.add_url_rule(path, path, service.retrieve_instances)
        bp.add_url_rule(f"{path}/pixeldata", f"{path}/pixeldata", service.retrieve_pixel_data)
        bp.add_url_rule(f"{path}/bulkdata", f"{path}/bulkdata", service.retrieve_bulk_data)
    for tag in _PIXEL_DATA:
        bp.add_url_rule(f"{_INSTANCE}/bulkdata/{tag}", f"bulkdata/{tag}", partial(service.retrieve_pixel_data, tag))
    bp.add_url_rule(f"{_INSTANCE}/bulkdata/<path:tag_path>", "bulk_value", service.retrieve_bulk_value)
    bp.add_url_rule(f"{_INSTANCE}/frames/<frame_list>", "frames", service.retrieve_frames)
    return bp


@dataclass(frozen=True)
class RetrieveService:
    """The view functions and what they use. `public_root` gives the URL under which this client knows the service."""

    locator: Locator
    frames: Frames
    lookahead: FrameLookahead
    fetchers: FetcherPool
    public_root: Callable[[], str]
    file_choice: FileChoice
    bad_frames: BadFrames

    def retrieve_instances(self, **path: str) -> Response:
        """Part 10 files of the target, or their bulk data if the client takes that instead (PS3.18 Section B.10)."""
        target = Target.from_path(**path)
        located = self.locator.instances(target)
        single, accept = target.level == "instance", replace(_accept(), files=self.file_choice)
        if accept.means_bulk_data:
            return self._all_bulk(located, accept)
        files, chosen = agree_on_files(located, accept, self.frames, single=single)
        root, notes = self.public_root(), self.bad_frames.for_image_sets(one.key for one in located)
        offers = [file.offer for file in files]
        tag = entity_tag("instances", root, chosen, offers, [one.state for one in located], tokens(notes))
        multipart = chosen.offer.media_type != ZIP and not (single and chosen.multipart is False)

        def make() -> Response | Partial:
            stored = stored_file(accept, multipart=multipart)
            delivery = Delivery(files, self.frames, self.bad_frames, notes, stored)
            delivery.begin()
            if chosen.offer.media_type == ZIP:
                length_bytes = zip_length(delivery.items, delivery.report())
                body = encode_archive(delivery, length_bytes)
                response = respond.download(body, ZIP, f"{target.uid}.zip", length_bytes)
            elif multipart:
                response = _multipart_files(delivery, root, tag)
            else:
                (file,) = delivery.items
                response = respond.stream(encode_file(delivery), file.offer.content_type, file.length_bytes)
            return _with_warnings(respond.warned(response, missing_pixel_data(files)), delivery)

        return _unless_known(tag, make)

    def retrieve_frames(self, frame_list: str, **path: str) -> Response:
        """Frames of an instance, native or as stored."""
        target, numbers = Target.from_path(**path), parse_frame_numbers(frame_list)
        instance = self.locator.instance_with_frames(target, numbers)
        references = [instance.frame(number) for number in numbers]
        single, root, accept = len(numbers) == 1, self.public_root(), _accept()
        chosen = accept.choose(InstanceKind.of(instance.prepared).frames, single=single)
        sent = [SentFrame(instance, number, chosen.offer) for number in numbers]
        locations = None if chosen.multipart is False else (root, instance.path, numbers)
        notes = {} if single else self.bad_frames.for_image_sets([instance.key])
        tag = entity_tag("frames", IMPLEMENTATION, chosen, references, locations, tokens(notes))

        def make() -> Response | Partial:
            last, form = references[-1], chosen.offer.form
            cached = self.frames.cached_chunk(last, form)
            access = FrameAccess(instance.key, instance.image_set, instance.prepared, numbers[-1], form)
            self.lookahead.note(access, missed=cached is None)
            if single and cached is not None and chosen.multipart is not False:
                return _one_part(sent[0], cached, root, tag)
            return self._respond_with_frames(sent, chosen, accept, root, tag, notes)

        return _unless_known(tag, make, cache_control=respond.IMMUTABLE)

    def _respond_with_frames(
        self,
        sent: Sequence[SentFrame],
        chosen: ChosenOffer,
        accept: Accept,
        public_root: str,
        tag: str,
        notes: NotesByImageSet,
    ) -> Response | Partial:
        """The frames in multipart, or a single one by itself; `chosen` is the choice for all of them."""
        multipart = chosen.multipart is not False
        delivery = Delivery(sent, self.frames, self.bad_frames, notes, stored_frame(accept, multipart=multipart))
        delivery.begin(WAITED_FOR if len(sent) <= WAITED_FOR else 1)
        if not multipart:
            return _with_warnings(self._single_frame(delivery.items[0], tag), delivery)
        if len(sent) == 1:
            frame = delivery.items[0]
            response = _one_part(frame, self.frames.read_chunk(frame.reference, frame.form), public_root, tag)
            return _with_warnings(response, delivery)
        plan = plan_frames(delivery.items, public_root, self.frames)
        parts = encode_parts(delivery, lambda frame, bodies: part_of(frame, public_root, next(bodies)), plan)
        return _with_warnings(_multipart(parts, delivery, plan, chosen.offer.media_type, tag), delivery)

    def _single_frame(self, sent: SentFrame, tag: str) -> Response:
        reference, offer = sent.reference, sent.offer

        def read(start: int, stop: int) -> Iterator[Chunk]:
            return self.frames.read_range(reference, offer.form, start, stop)

        length_bytes = self.frames.size(reference, offer.form)
        response = respond.ranged(request.headers, tag, offer.content_type, length_bytes, read)
        response.headers.update(resolution_header(offer, bytes(next(read(0, _MAIN_HEADER_BYTES), b""))))
        return response

    def retrieve_pixel_data(self, tag: str | None = None, **path: str) -> Response:
        """The pixel data of the target, one part for each frame.

        `tag` is the element that it must be; NotFound where there is none.
        """
        target = Target.from_path(**path)
        if target.level == "instance":
            located = [self.locator.instance_with_frames(target, [1])]
        else:
            located = self.locator.instances(target)
        warnings = missing_frames(located)
        located = [one for one in located if one.prepared.frames and tag in (None, one.prepared.pixel_element[0])]
        if not located:
            raise NotFound("there is no pixel data")
        single = len(located) == 1 and len(located[0].prepared.frames) == 1
        kinds, accept = [InstanceKind.of(one.prepared) for one in located], _accept()
        chosen = agree({kind: kind.frames for kind in dict.fromkeys(kinds)}, accept, single=single)
        first = next(iter(chosen.values()))
        offers = [chosen[kind].offer for kind in kinds]
        root, notes = self.public_root(), self.bad_frames.for_image_sets(one.key for one in located)
        etag = entity_tag("pixeldata", root, first, offers, [one.state for one in located], tokens(notes))
        sent = frames_of(zip(located, offers, strict=True))
        answer = _unless_known(etag, lambda: self._respond_with_frames(sent, first, accept, root, etag, notes))
        return respond.warned(answer, warnings)

    def retrieve_bulk_data(self, **path: str) -> Response:
        """All bulk values of the target, one part for each, and its pixel data, one part for each frame."""
        return self._all_bulk(self.locator.instances(Target.from_path(**path)), _accept())

    def _all_bulk(self, located: Sequence[LocatedInstance], accept: Accept) -> Response:
        warnings = missing_frames(located)
        located = [one for one in located if one.prepared.frames or one.prepared.bulk]
        if not located:
            raise NotFound("there is no bulk data")
        root, notes = self.public_root(), self.bad_frames.for_image_sets(one.key for one in located)
        offers = agree_on_bulk(located, accept)
        states = [one.state for one in located]
        tag = entity_tag("bulkdata", root, sorted(offers.items(), key=repr), states, tokens(notes))

        def make() -> Response | Partial:
            sent = all_bulk(located, offers)
            delivery = Delivery(sent, self.frames, self.bad_frames, notes, stored_bulk(accept))
            delivery.begin()
            plan = plan_bulk(delivery.items, root, self.frames)
            parts = encode_parts(delivery, lambda one, frames: part_of_bulk(one, root, frames), plan)
            media_type = next(iter(offers.values())).media_type
            return _with_warnings(_multipart(parts, delivery, plan, media_type, tag), delivery)

        return respond.warned(_unless_known(tag, make), warnings)

    def retrieve_bulk_value(self, tag_path: str, **path: str) -> Response:
        """One bulk value, by the path of tags that the metadata refers to."""
        tag_path = parse_bulk_path(tag_path)
        if tag_path in _PIXEL_DATA:
            return self.retrieve_pixel_data(tag_path, **path)
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
    """One frame in multipart; byte ranges of it are sent too, because viewers load it progressively."""
    return respond.ranged_multipart(request.headers, [part_of(sent, public_root, body)], sent.offer.media_type, tag)


def _multipart_files(delivery: Delivery[Part10], public_root: str, tag: str) -> Response:
    plan = plan_parts(delivery.items, public_root)
    parts = encode_parts(delivery, lambda file, frames: part_of_file(public_root, file, frames), plan)
    return _multipart(parts, delivery, plan, DICOM, tag)


def _multipart(
    parts: Iterator[Part],
    delivery: Delivery[ItemT],
    plan: Callable[[ItemT], Part] | None,
    media_type: str,
    tag: str,
) -> Response:
    """The parts of a delivery; `plan` gives each part without its bytes if there is a Content-Length."""
    planned = map(plan, delivery.items) if plan else None
    return respond.multipart(parts, media_type, tag, planned, delivery.report)


def _with_warnings(response: Response, delivery: Delivery[ItemT]) -> Response | Partial:
    """The response, marked as partial if not all items are sent as requested: caches must not store it."""
    warnings = delivery.warnings
    return Partial(response, warnings) if warnings else response


def _unless_known(
    tag: str, make: Callable[[], Response | Partial], *, cache_control: str = respond.NO_CACHE, vary: str = "Accept"
) -> Response:
    return respond.unless_known(request.headers, tag, cache_control, vary, make)


def _accept() -> Accept:
    return Accept.from_request(request.query_string, request.headers.get("Accept"))

"""The resources of WADO-RS (PS3.18 Section 10.4). Each route: aim, locate, agree on a representation, answer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from flask import Blueprint, Response, request

from ahi.fetchers import Fetchers
from ahi.jobs import FrameReference, compress
from ahi.store import Encoded, Frames
from dicomweb import respond
from dicomweb.conditional import entity_tag
from dicomweb.dicom_xml import DICOM_XML
from dicomweb.errors import NotAcceptable, NotFound
from dicomweb.multipart import Part
from dicomweb.parameters import parse_parameters
from wado.archive import encode_zip
from wado.files import agree_on_files, encode_parts
from wado.frames import encode_frames, resolution_header
from wado.locate import LocatedInstance, Locator
from wado.metadata import encode_xml_metadata
from wado.part10 import fetch_for
from wado.rendered import Picture, render
from wado.rendered.objects import POLICIES, ObjectPicture, content_type, document, kind_of, render_object
from wado.representation import METADATA_OFFERS, RENDERED_OFFERS, ZIP, Accept, Offer, bulk_offers, frame_offers
from wado.target import Target, parse_frame_numbers

_STUDY = "/studies/<study>"
_SERIES = f"{_STUDY}/series/<series>"
_INSTANCE = f"{_SERIES}/instances/<instance>"
_LEVELS = (_STUDY, _SERIES, _INSTANCE)

_MAIN_HEADER_BYTES = 4096  # more than the main header of a codestream has, as a rule


def blueprint(retrieve: "Retrieve") -> Blueprint:
    """The retrieve resources."""
    bp = Blueprint("wado", __name__)
    for path in _LEVELS:
        bp.add_url_rule(path, path, retrieve.instances)
        bp.add_url_rule(f"{path}/metadata", f"{path}/metadata", retrieve.metadata)
        bp.add_url_rule(f"{path}/rendered", f"{path}/rendered", retrieve.rendered)
        bp.add_url_rule(f"{path}/pixeldata", f"{path}/pixeldata", retrieve.pixel_data)
    bp.add_url_rule(f"{_INSTANCE}/bulkdata/7FE00010", "pixel_data", retrieve.pixel_data)
    bp.add_url_rule(f"{_INSTANCE}/bulkdata/<path:tag_path>", "bulk_value", retrieve.bulk_value)
    bp.add_url_rule(f"{_INSTANCE}/frames/<frame_list>", "frames", retrieve.frames)
    bp.add_url_rule(f"{_INSTANCE}/frames/<frame_list>/rendered", "rendered_frame", retrieve.rendered_frame)
    return bp


@dataclass(frozen=True)
class Retrieve:
    """The view functions, and what they use; `public_root` is the URL that this client knows the service by."""

    locator: Locator
    stored: Frames
    encoded: Encoded
    fetchers: Fetchers
    public_root: Callable[[], str]

    def instances(self, **path: str) -> Response:
        """Part 10 objects."""
        target = Target.from_path(**path)
        located = self.locator.instances(target)
        single = target.level == "instance"
        files, chosen = agree_on_files(located, _accept(), self.stored, single=single)
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

    def metadata(self, **path: str) -> Response:
        """The data sets without pixel data, as DICOM JSON or XML."""
        located = self.locator.instances(Target.from_path(**path))
        media_type = _accept().choose(METADATA_OFFERS, single=True).offer.media_type
        root, squeezed = self.public_root(), request.accept_encodings["gzip"] > 0
        tag = entity_tag("metadata", root, squeezed, media_type, [one.state for one in located])
        key = tag.strip('"')

        def texts() -> Iterator[tuple[str, bytes]]:
            return ((f"{root}{one.path}/metadata", one.image_set.metadata(one.prepared, root)) for one in located)

        def json() -> bytes:
            return b"[" + b",".join(text for _, text in texts()) + b"]"

        def xml(name: str) -> bytes:
            return self.fetchers.run(key, encode_xml_metadata, name, tag, squeezed, tuple(texts()))

        def make() -> Response:
            if media_type == DICOM_XML:
                body, content_type = self.encoded.read(key, xml), respond.multipart_type(media_type, tag)
            elif squeezed:
                body = self.encoded.read(key, lambda name: self.fetchers.run(key, compress, name, json()))
                content_type = media_type
            else:
                body, content_type = json(), media_type
            return respond.gzipped(body, content_type) if squeezed else respond.single(body, content_type)

        return _unless_known(tag, make, vary="Accept, Accept-Encoding")

    def frames(self, frame_list: str, **path: str) -> Response:
        """Frames, stored or native."""
        target, numbers = Target.from_path(**path), parse_frame_numbers(frame_list)
        instance = self.locator.instance(target)
        references = [instance.frame(number) for number in numbers]
        locations = [f"{self.public_root()}{instance.path}/frames/{number}" for number in numbers]
        single = len(numbers) == 1
        chosen = _accept().choose(frame_offers(instance.prepared.transfer_syntax_uid), single=single)
        offer = chosen.offer
        tag = entity_tag("frames", chosen, references, None if chosen.multipart is False else locations)

        def make() -> Response:
            if chosen.multipart is False:
                return self._single_frame(references[0], offer, tag)
            return respond.multipart(encode_frames(references, locations, offer, self.stored), offer.media_type, tag)

        return _unless_known(tag, make, cache_control=respond.IMMUTABLE)

    def _single_frame(self, reference: FrameReference, offer: Offer, tag: str) -> Response:
        def read(start: int, stop: int) -> Iterator[bytes]:
            return self.stored.chunks(reference, offer.form, start, stop)

        length_bytes = self.stored.size(reference, offer.form)
        response = respond.ranged(request.headers, tag, offer.content_type, length_bytes, read)
        response.headers.update(resolution_header(offer, next(read(0, _MAIN_HEADER_BYTES), b"")))
        return response

    def pixel_data(self, **path: str) -> Response:
        """The pixel data of all instances, a part for each frame; a single part where there is one frame."""
        located = [one for one in self.locator.instances(Target.from_path(**path)) if one.prepared.frames]
        if not located:
            raise NotFound("there is no pixel data")
        accept, root = _accept(), self.public_root()
        single = len(located) == 1 and len(located[0].prepared.frames) == 1
        stored_as = {one.prepared.transfer_syntax_uid for one in located}
        chosen = {uid: accept.choose(frame_offers(uid), single=single) for uid in sorted(stored_as)}
        first = chosen[located[0].prepared.transfer_syntax_uid]
        tag = entity_tag("pixeldata", root, sorted(chosen.items()), [one.state for one in located])

        def parts() -> Iterator[Part]:
            for one in located:
                offer = chosen[one.prepared.transfer_syntax_uid].offer
                locations = [f"{root}{one.path}/frames/{number + 1}" for number in range(len(one.prepared.frames))]
                yield from encode_frames(one.frames, locations, offer, self.stored)

        def make() -> Response:
            if single and first.multipart is False:
                return self._single_frame(located[0].frame(1), first.offer, tag)
            return respond.multipart(parts(), first.offer.media_type, tag)

        return _unless_known(tag, make)

    def bulk_value(self, tag_path: str, **path: str) -> Response:
        """One value that the metadata points to."""
        instance = self.locator.instance(Target.from_path(**path))
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

    def rendered(self, **path: str) -> Response:
        """A picture of the target: of an instance its first frame, else the middle one of its images."""
        representative = _representative(self.locator.instances(Target.from_path(**path)))
        return self._picture(representative, 1) if representative.prepared.pixels else self._object(representative)

    def rendered_frame(self, frame_list: str, **path: str) -> Response:
        """A picture of one frame."""
        target, numbers = Target.from_path(**path), parse_frame_numbers(frame_list)
        return self._picture(self.locator.instance(target), numbers[0])

    def _object(self, instance: LocatedInstance) -> Response:
        """What is no image, as the document or the drawing that its kind has."""
        kind, root = kind_of(instance.prepared.sop_class_uid), self.public_root()
        if not kind.offers:
            raise NotAcceptable("there is no image to draw")
        media_type = _accept().choose(kind.offers, single=True, multipart=False).offer.media_type

        def make() -> Response:
            if kind.stored:
                body = document(instance, media_type)
            else:
                picture = ObjectPicture(instance.image_set.block(instance.prepared.native_head), root, media_type)
                body = self.fetchers.run(instance.prepared.sop_instance_uid, render_object, picture)
            response = respond.single(body, content_type(media_type))
            response.headers.update({"Content-Security-Policy": POLICIES[media_type]} if media_type in POLICIES else {})
            return response

        return _unless_known(entity_tag("rendered", root, instance.state, media_type), make)

    def _picture(self, instance: LocatedInstance, frame_number: int) -> Response:
        reference = instance.frame(frame_number)
        offer = _accept().choose(RENDERED_OFFERS, single=True, multipart=False).offer
        head = instance.image_set.block(instance.prepared.native_head)
        picture = Picture(reference, frame_number, head, offer.media_type)

        def make() -> Response:
            body = self.fetchers.run(reference.frame.frame_id, render, picture)
            return respond.single(body, offer.content_type)

        return _unless_known(entity_tag("rendered", instance.state, frame_number, offer), make)


def _unless_known(
    tag: str, make: Callable[[], Response], *, cache_control: str = respond.NO_CACHE, vary: str = "Accept"
) -> Response:
    return respond.unless_known(request.headers, tag, cache_control, vary, make)


def _accept() -> Accept:
    parameters = parse_parameters(request.query_string)
    return Accept.from_request([value for name, value in parameters if name == "accept"], request.headers.get("Accept"))


def _representative(instances: Sequence[LocatedInstance]) -> LocatedInstance:
    images = [instance for instance in instances if instance.prepared.pixels]
    if images:
        return images[len(images) // 2]
    return next((one for one in instances if kind_of(one.prepared.sop_class_uid).offers), instances[0])

"""One bad object spoils nothing around it: random studies of good and bad objects, by every way of having many."""

import re
import time
import zipfile
from collections.abc import Iterator, Sequence
from http.client import IncompleteRead
from io import BytesIO
from random import Random

import pytest
from dicomweb_client import DICOMwebClient
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian

from datastore.embedded import Embedded
from tests.service.ahi import Ahi
from tests.service.answers import Answer, Part, get, native
from tests.service.mixed_study import (
    ABSENT,
    DAMAGED,
    FEW,
    PDF,
    ROOT,
    UNDECODABLE,
    Object,
    image_sets,
    make_study,
    spoil,
    write,
)
from tests.service.process import Service

STUDIES, FRESH_SECONDS = 14, 1
EXPLICIT, UNNAMED, STORED = f"; transfer-syntax={ExplicitVRLittleEndian}", "", "; transfer-syntax=*"
ALONE = {"404": 404, "403": 502, "500": 503, "no jpeg": 406, "one of three no jpeg": 406, "wrong checksum": 502,
         "one of three 404": 404, "colour 404": 404, "colour 500": 503}  # fmt: skip


class Archive:
    """The studies, AHI with its faults, the service in front of it, and the image sets, each with its series.

    No data class, as hypothesis would print all of it.
    """

    def __init__(
        self,
        studies: Sequence[Sequence[Object]],
        ahi: Ahi,
        faults: str,
        service: Service,
        image_sets: Sequence[tuple[str, str]],
    ) -> None:
        self.studies = studies
        self.ahi = ahi
        self.faults = faults
        self.service = service
        self.image_sets = image_sets

    def forget(self) -> None:
        """Empty the cache of the service."""
        for path in (self.service.log_path.parent / "cache").rglob("*"):
            if path.is_file():
                path.unlink(missing_ok=True)


def _kinds(random: Random, number: int) -> list[str]:
    """One study of bad objects only, one of each kind, and others at random."""
    if number == 0:
        return FEW
    if number == 1:
        return ["no jpeg", "wrong checksum", "404"]
    if number == STUDIES:
        return ["grey", "many frames", "grey"]
    if number == 4:
        return ["grey", "jpeg", "grey", "document"]
    if number == 3:
        return ["grey", "grey", "no jpeg", "grey", "grey"]
    if number == 2:
        return ["grey"] * 12 + ["no jpeg"] + ["grey"] * 12 + ["wrong checksum"]
    return random.choices(FEW, k=random.randrange(2, 8))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder, root, random = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("store"), Random(17)  # noqa: S311
    studies = [make_study(number, _kinds(random, number), random, 1 + (number != 3)) for number in range(STUDIES + 1)]
    everything = [one for study in studies for one in study]
    write(everything, folder)
    Embedded(root).fill([folder])
    faults = spoil(everything, root, random)
    ahi = Ahi(root)
    ahi.faults(faults)
    environment = {
        **ahi.environment(),
        "AHI_DEADLINE_SECONDS": "1",
        "PREFETCH_FRAMES": "0",
        "IMAGE_SET_FRESH_SECONDS": str(FRESH_SECONDS),
        "IMAGE_SET_UNCHECKED_SECONDS": "0",
        "WEB_PROCESSES": "1",
    }
    service = Service(tmp_path_factory.mktemp("service"), environment)
    yield Archive(studies, ahi, faults, service, list(image_sets(root)))
    status = service.stop()
    ahi.stop()
    assert status == 0
    assert not [unwanted for unwanted in ("Traceback", "Gemischt", "MIXED") if unwanted in service.log]


def _sent(one: Object, syntax: str) -> bool:
    """Whether an object can be had in a transfer syntax of EXPLICIT, UNNAMED and STORED."""
    taken = {"": True, UNDECODABLE: syntax != EXPLICIT, DAMAGED: syntax == STORED, ABSENT: False}
    return taken[one.wrong]


def _told(answer: Answer) -> str:
    """All that an answer says of what is not as asked for."""
    return " ".join([*(answer.headers.get_all("Warning") or []), answer.epilogue])


def _is_told(one: Object, syntax: str) -> bool:
    """Whether an answer has to say something of an object."""
    return one.kind == "no frames" or (bool(one.wrong) and (syntax, one.wrong) not in
                                       ((STORED, UNDECODABLE), (STORED, DAMAGED)))  # fmt: skip


def _check_file(one: Object, content: bytes, syntax: str) -> None:
    data_set = dcmread(BytesIO(content))
    assert data_set.SOPInstanceUID == one.uid
    stored_as = data_set.file_meta.TransferSyntaxUID
    if one.kind == "document":
        assert data_set.EncapsulatedDocument == PDF
    elif one.kind == "no frames":
        assert "PixelData" not in data_set
    elif stored_as == ExplicitVRLittleEndian:
        assert not one.wrong
        pixels = b"".join(one.native)
        assert data_set.PixelData == pixels + bytes(len(pixels) % 2)
    else:
        assert syntax != EXPLICIT
        frames = list(generate_frames(data_set.PixelData, number_of_frames=len(one.native)))
        for number, (frame, expected) in enumerate(zip(frames, one.native, strict=True), 1):
            _check_stored(one, number, frame, f"{stored_as}", expected)


def _check_stored(one: Object, number: int, frame: bytes, syntax: str, expected: bytes) -> None:
    if syntax == "1.2.840.10008.1.2.4.50":
        count = int(one.data_set.get("NumberOfFrames", 1))
        stored = list(generate_frames(one.data_set.PixelData, number_of_frames=count))[number - 1]
        assert frame.rstrip(b"\0") == stored.rstrip(b"\0")
    elif one.frame_is_good(number):
        types = {"1.2.840.10008.1.2.4.202": "image/jphc", "1.2.840.10008.1.2.4.90": "image/jp2"}
        assert native(Part(f"{types[syntax]}; transfer-syntax={syntax}", None, frame)) == expected


def _frames(study: Sequence[Object], syntax: str) -> Iterator[tuple[str, Object, int, bool]]:
    """The path of each frame, and whether it can be had."""
    for one in study:
        for number in range(1, len(one.native) + 1):
            good = one.frame_is_good(number) or (one.wrong in (UNDECODABLE, DAMAGED) and syntax == STORED)
            yield f"{one.path}/frames/{number}", one, number, good


def _check_frames(study: Sequence[Object], answer: Answer, syntax: str, values: int = 0) -> None:
    expected = {path: (one, number) for path, one, number, good in _frames(study, syntax) if good}
    found = {re.sub(".*/aetitle", "", part.location or ""): part for part in answer.parts}
    assert len(found) == len(answer.parts) == len(expected) + values
    for path, (one, number) in expected.items():
        part, stored_as = found[path], found[path].content_type.partition("transfer-syntax=")[2]
        if stored_as == ExplicitVRLittleEndian:
            assert part.body == one.native[number - 1]
        else:
            _check_stored(one, number, part.body, stored_as, one.native[number - 1])
    for path, one, number, good in _frames(study, syntax):
        assert (f"{one.uid}/frames/{number}" in _told(answer)) == (not good), path


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, STUDIES - 1),
    st.sampled_from(["parts", "zip", "pixeldata", "bulkdata"]),
    st.sampled_from([EXPLICIT, UNNAMED, STORED]),
    st.booleans(),
)
def test_every_good_object_is_sent_and_every_bad_one_told(
    archive: Archive, warm: bool, number: int, resource: str, syntax: str, of_series: bool
) -> None:
    study = archive.studies[number]
    if of_series:
        series = study[0].path.partition("/instances/")[0]
        study = [one for one in study if one.path.startswith(f"{series}/")]
    path = study[0].path.partition("/instances/" if of_series else "/series/")[0]
    if not warm:
        archive.forget()
    match resource:
        case "parts":
            answer = get(archive.service.root, path, {"Accept": f'multipart/related; type="application/dicom"{syntax}'})
            _check_parts(study, answer, syntax)
        case "zip":
            answer = get(archive.service.root, path, {"Accept": f"application/zip{syntax}"})
            _check_zip(study, answer, syntax)
        case _:
            accept = f'multipart/related; type="application/octet-stream"{syntax}'
            answer = get(archive.service.root, f"{path}/{resource}", {"Accept": accept})
            values = sum(one.kind == "document" for one in study) if resource == "bulkdata" else 0
            if values or any(good for *_, good in _frames(study, syntax)):
                assert answer.status == 200, answer.body
                _check_frames(study, answer, syntax, values)
                for one in study:
                    assert one.kind != "no frames" or one.uid in re.findall(r"[\d.]+", _told(answer))
            else:
                assert answer.status in (404, 406, 502, 503), answer.status


def _check_parts(study: Sequence[Object], answer: Answer, syntax: str) -> None:
    sent = {one.uid: one for one in study if _sent(one, syntax)}
    if not sent:
        assert answer.status == (406 if any(one.wrong == UNDECODABLE for one in study) else answer.status)
        assert answer.status in (404, 406, 502, 503)
        return
    assert answer.status == 200, answer.body
    found = {(part.location or "").rpartition("/")[2]: part for part in answer.parts}
    assert found.keys() == sent.keys() and len(answer.parts) == len(sent)
    for uid, one in sent.items():
        _check_file(one, found[uid].body, syntax)
    for one in study:
        assert (one.uid in re.findall(r"[\d.]+", _told(answer))) == _is_told(one, syntax), (one.kind, _told(answer))
    _check_kept(answer)


def _check_zip(study: Sequence[Object], answer: Answer, syntax: str) -> None:
    sent = {one.uid: one for one in study if _sent(one, syntax)}
    if not sent:
        assert answer.status in (404, 406, 502, 503)
        return
    assert answer.status == 200, answer.body
    told = " ".join(answer.headers.get_all("Warning") or [])
    with zipfile.ZipFile(BytesIO(answer.body)) as zipped:
        assert zipped.testzip() is None
        names = [name for name in zipped.namelist() if name != "left-out.txt"]
        told += zipped.comment.decode() + (
            zipped.read("left-out.txt").decode() if len(names) < len(zipped.namelist()) else ""
        )
        assert {name.rpartition("/")[2].removesuffix(".dcm") for name in names} == sent.keys()
        assert len(names) == len(sent)
        for name in names:
            _check_file(sent[name.rpartition("/")[2].removesuffix(".dcm")], zipped.read(name), syntax)
    for one in study:
        assert (one.uid in re.findall(r"[\d.]+", told)) == _is_told(one, syntax), (one.kind, told)
    _check_kept(answer)


def _check_kept(answer: Answer) -> None:
    """What says in its head that it lacks something is for no cache."""
    lacks = any(re.search("left out|sent as stored", one) for one in answer.headers.get_all("Warning") or [])
    assert (answer.headers["Cache-Control"] == "no-store") == lacks == ("ETag" not in answer.headers)


@pytest.mark.parametrize("kind", ALONE)
def test_an_object_that_is_asked_for_alone_is_a_clear_error(archive: Archive, kind: str) -> None:
    one = next(one for one in archive.studies[0] if one.kind == kind)
    for accept in (f"application/dicom{EXPLICIT}", f'multipart/related; type="application/dicom"{EXPLICIT}'):
        answer = get(archive.service.root, one.path, {"Accept": accept})
        assert answer.status == ALONE[kind], answer.body
        assert answer.content_type == "application/problem+json"
        assert (b"transfer-syntax=*" in answer.body) == (answer.status == 406)


def test_an_image_without_frames_says_so(archive: Archive) -> None:
    one = next(one for one in archive.studies[0] if one.kind == "no frames")
    study, series = one.data_set.StudyInstanceUID, one.data_set.SeriesInstanceUID
    uri = f"/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={one.uid}"
    for path in (one.path, uri):
        answer = get(archive.service.root, path, {"Accept": "application/dicom"})
        assert answer.status == 200
        _check_file(one, answer.body, UNNAMED)
        assert "without pixel data" in answer.headers["Warning"]
    assert get(archive.service.root, f"{one.path}/frames/1", {}).status == 404


def test_frames_of_which_one_is_bad_come_without_it(archive: Archive) -> None:
    for kind in ("one of three no jpeg", "one of three 404"):
        one = next(one for one in archive.studies[0] if one.kind == kind)
        accept = f'multipart/related; type="application/octet-stream"{EXPLICIT}'
        answer = get(archive.service.root, f"{one.path}/frames/1,2,3", {"Accept": accept})
        assert answer.status == 200
        _check_frames([one], answer, EXPLICIT)
        assert "1 of 3 left out" in answer.headers["Warning"]


def test_a_slide_has_whole_tiles(archive: Archive) -> None:
    one = next(one for one in archive.studies[0] if one.kind == "narrow tile")
    answer = get(archive.service.root, f"{one.path}/frames/2/rendered", {"Accept": "image/png"})
    assert answer.status == 200
    assert Image.open(BytesIO(answer.body)).size == (32, 24)


def test_what_is_found_out_late_is_told_in_the_head_of_the_next_answer(archive: Archive) -> None:
    """Of 26 objects the 13th and the last are bad: the first answer keeps the length that it had promised."""
    study = archive.studies[2]
    path = study[0].path.partition("/series/")[0]
    archive.forget()
    accept = f'multipart/related; type="application/dicom"{EXPLICIT}'
    first, second = (get(archive.service.root, path, {"Accept": accept}) for _ in range(2))
    assert int(first.headers["Content-Length"]) == len(first.body)
    assert "Warning" not in first.headers and first.epilogue.count("left out: /studies/") == 2
    assert "2 of 26 left out" in second.headers["Warning"]
    assert first.parts[0] == second.parts[0] and len(first.parts) == len(second.parts) == 24
    assert int(second.headers["Content-Length"]) == len(second.body) < len(first.body)
    again = get(archive.service.root, path, {"Accept": accept, "If-None-Match": first.headers["ETag"]})
    assert again.status == 200
    log = [line for line in archive.service.log.splitlines() if "not all can be sent" in line]
    assert all("left_out=" in line for line in log) and log


def test_an_outage_is_no_lack_of_objects(archive: Archive) -> None:
    path = archive.studies[2][0].path.partition("/series/")[0]
    accept = {"Accept": f'multipart/related; type="application/dicom"{EXPLICIT}'}
    for fault in ("GetImageFrame:429", "GetImageFrame:cut", "*:500"):
        archive.forget()
        assert get(archive.service.root, f"{path}/metadata", {}).status == 200
        archive.ahi.faults(fault)
        try:
            answer = get(archive.service.root, path, accept)
        finally:
            archive.ahi.faults(archive.faults)
        assert answer.status == 503, fault
        assert answer.headers["Retry-After"]


@pytest.mark.parametrize("resource", ["thumbnail", "rendered"])
def test_another_image_stands_for_a_study_or_series(archive: Archive, resource: str) -> None:
    for study in archive.studies:
        for depth in ("/series/", "/instances/"):
            path = study[0].path.partition(depth)[0]
            within = [one for one in study if one.path.startswith(f"{path}/")]
            good = [one for one in within for n in range(1, len(one.native) + 1) if one.frame_is_good(n)]
            answer = get(archive.service.root, f"{path}/{resource}", {"Accept": "image/png"})
            if good:
                assert answer.status == 200, answer.body
                assert Image.open(BytesIO(answer.body)).size
                assert ("Warning" in answer.headers) == ("ETag" not in answer.headers)
            elif any(one.native for one in within):
                assert answer.status in (404, 406, 502, 503)


def test_the_picture_of_a_study_is_told_to_be_another_one(archive: Archive) -> None:
    (middle,) = [one for one in archive.studies[3] if one.wrong]
    path = middle.path.partition("/series/")[0]
    answer = get(archive.service.root, f"{path}/thumbnail", {"Accept": "image/png"})
    other = get(archive.service.root, f"{path}/thumbnail", {"Accept": "image/png"})
    assert (answer.status, answer.body) == (other.status, other.body)
    assert f"{middle.uid}/frames/1" in answer.headers["Warning"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert get(archive.service.root, f"{middle.path}/thumbnail", {"Accept": "image/png"}).status == 406


def test_pictures_of_all_images_come_without_the_bad_ones(archive: Archive) -> None:
    for study in archive.studies[:5]:
        path = study[0].path.partition("/series/")[0]
        answer = get(archive.service.root, f"{path}/rendered", {"Accept": 'multipart/related; type="image/png"'})
        frames = {f"{one.uid}/frames/{n}": one.frame_is_good(n) for one in study for n in range(1, len(one.native) + 1)}
        if not any(frames.values()):
            assert answer.status in (404, 406, 502, 503)
            continue
        found = [(part.location or "").partition("/instances/")[2].removesuffix("/rendered") for part in answer.parts]
        assert sorted(found) == sorted(name for name, good in frames.items() if good)
        assert all(Image.open(BytesIO(part.body)).size for part in answer.parts)
        assert all((name in _told(answer)) != good for name, good in frames.items())


@pytest.mark.parametrize(
    "fault",
    ["GetImageSetMetadata/{}:403", "GetImageSetMetadata/{}:half", "GetImageSetMetadata/{}:404", "GetImageSet/{}:500"],
)
def test_an_image_set_in_error_spoils_no_study(archive: Archive, fault: str) -> None:
    """The series that it is of is told to be missing; asked for alone it is an error."""
    study = archive.studies[4]
    assert {one.wrong for one in study} == {""}
    ids = {series: image_set for image_set, series in archive.image_sets if series.startswith(f"{ROOT}.4.")}
    lost, *kept = sorted(ids)
    path = f"/studies/{ROOT}.4"
    archive.forget()
    time.sleep(FRESH_SECONDS)
    archive.ahi.faults(f"{archive.faults},{fault.format(ids[lost])}")
    try:
        metadata = get(archive.service.root, f"{path}/metadata", {})
        parts = get(archive.service.root, path, {"Accept": 'multipart/related; type="application/dicom"'})
        picture = get(archive.service.root, f"{path}/thumbnail", {"Accept": "image/png"})
        alone = get(archive.service.root, f"{path}/series/{lost}/metadata", {})
        instance = next(one for one in study if one.data_set.SeriesInstanceUID == lost)
        object_alone = get(archive.service.root, instance.path, {"Accept": "application/dicom"})
        others = [get(archive.service.root, f"{path}/series/{uid}/metadata", {}) for uid in kept]
    finally:
        archive.ahi.faults(archive.faults)
    expected = [one.uid for one in study if one.data_set.SeriesInstanceUID in kept]
    assert metadata.status == parts.status == picture.status == 200, metadata.body
    assert sorted(str(one["00080018"]["Value"][0]) for one in metadata.json) == sorted(expected)  # type: ignore[index]
    assert len(parts.parts) == len(expected)
    assert all("1 image sets" in answer.headers["Warning"] for answer in (metadata, parts, picture))
    assert alone.status == object_alone.status in (502, 503)
    assert all(other.status == 200 and "Warning" not in other.headers for other in others)


def test_a_long_object_is_cut_once_and_told_of_the_next_time(archive: Archive) -> None:
    """Of 70 native frames the first is tried before it begins, and then the one that was bad."""
    path = f"/studies/{ROOT}.{STUDIES}"
    accept = {"Accept": f'multipart/related; type="application/dicom"{EXPLICIT}'}
    archive.forget()
    with pytest.raises(IncompleteRead):
        get(archive.service.root, path, accept)
    answer = get(archive.service.root, path, accept)
    _check_parts(archive.studies[STUDIES], answer, EXPLICIT)
    assert "1 of 3 left out" in answer.headers["Warning"]


@pytest.mark.parametrize("again", [False, True], ids=["told at the end", "told before"])
def test_clients_read_what_there_is(archive: Archive, again: bool) -> None:
    """Text behind the closing boundary is no part for them."""
    study = archive.studies[2]
    if not again:
        archive.forget()
    client = DICOMwebClient(archive.service.root)
    found = client.retrieve_study(study[0].data_set.StudyInstanceUID)
    expected = {one.uid: one for one in study if not one.wrong} | {
        one.uid: one for one in study if one.kind == "no jpeg"
    }
    assert {one.SOPInstanceUID for one in found} == expected.keys()
    for one in found:
        assert expected[one.SOPInstanceUID].wrong or one.PixelData == b"".join(expected[one.SOPInstanceUID].native)

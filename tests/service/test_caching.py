"""What is kept by caches and loaded in pieces: entity tags, ranges, compression, ZIP, all over a real socket."""

import gzip
import zipfile
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pytest
import requests
from backports import zstd
from pydicom import dcmread

from tests.service.archive import Sample
from tests.service.process import Service

CT = "CT_small.dcm"
RPCL = "1.2.840.10008.1.2.4.202"


@pytest.fixture
def instance(service: Service, samples: dict[str, Sample]) -> str:
    """The URL of an instance."""
    return "{}/studies/{}/series/{}/instances/{}".format(service.root, *samples[CT].uids)


def _get(url: str, **headers: str) -> requests.Response:
    return requests.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}, timeout=60)


RESOURCES = [
    ("", "application/dicom"),
    ("", 'multipart/related; type="application/dicom"'),
    ("", "application/zip"),
    ("/metadata", "application/dicom+json"),
    ("/metadata", 'multipart/related; type="application/dicom+xml"'),
    ("/frames/1", "application/octet-stream"),
    ("/frames/1", "image/*"),
    ("/frames/1", "multipart/related"),
    ("/rendered", "image/jpeg"),
    ("/frames/1/rendered", "image/png"),
]


@pytest.mark.parametrize(("path", "accept"), RESOURCES)
def test_equal_tags_mean_equal_bytes_and_are_not_sent_again(instance: str, path: str, accept: str) -> None:
    first, second = _get(instance + path, Accept=accept), _get(instance + path, Accept=accept)
    assert first.status_code == 200
    tag = first.headers["ETag"]
    assert tag.startswith('"')
    assert (second.headers["ETag"], second.content) == (tag, first.content)
    assert "Accept" in first.headers["Vary"].split(", ")
    assert first.headers["Cache-Control"].startswith("public, ")
    known = _get(instance + path, Accept=accept, If_None_Match=f'"x", {tag}')
    assert (known.status_code, known.content, known.headers["ETag"]) == (304, b"", tag)
    assert _get(instance + path, Accept=accept, If_None_Match='"x"').status_code == 200


def test_each_representation_has_a_tag_of_its_own(instance: str) -> None:
    tags = {_get(instance + path, Accept=accept).headers["ETag"] for path, accept in RESOURCES}
    tags |= {_get(f"{instance}/metadata", Accept_Encoding=coding).headers["ETag"] for coding in ("gzip", "identity")}
    assert len(tags) >= len(RESOURCES)


def test_a_missing_resource_is_404_whatever_the_client_has(instance: str) -> None:
    assert _get(f"{instance}/frames/99", If_None_Match="*").status_code == 404
    nobody = instance[:-1]
    for url in (f"{instance}/frames/99", f"{instance}/bulkdata/00282000", nobody, f"{nobody}/metadata"):
        assert _get(url, Accept="text/html", If_Match='"x"').status_code == 404
    assert _get(f"{instance}/frames/1", Accept="text/html").status_code == 406


def test_a_frame_is_loaded_in_pieces(instance: str) -> None:
    """PS3.18 Section 8.4: viewers ask for `bytes=0-65535`, then for the rest."""
    url = f"{instance}/frames/1"
    whole = _get(url, Accept="application/octet-stream")
    assert whole.headers["Accept-Ranges"] == "bytes"
    size = len(whole.content)
    begin = _get(url, Accept="application/octet-stream", Range="bytes=0-999")
    rest = _get(url, Accept="application/octet-stream", Range="bytes=1000-", If_Range=whole.headers["ETag"])
    assert [begin.status_code, rest.status_code] == [206, 206]
    assert begin.headers["Content-Range"] == f"bytes 0-999/{size}"
    assert begin.content + rest.content == whole.content
    other = _get(url, Accept="application/octet-stream", Range="bytes=0-999", If_Range='"other"')
    assert (other.status_code, other.content) == (200, whole.content)


def test_a_head_request_has_no_range(instance: str) -> None:
    """RFC 9110 Section 14.2 has ranges for GET alone."""
    headers = {"Accept": "application/octet-stream", "Range": "bytes=0-9"}
    answer = requests.head(f"{instance}/frames/1", headers=headers, timeout=60)
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, "32768")


@pytest.mark.parametrize("path", ["/frames/1", "/metadata", "", "/rendered"])
def test_another_version_than_the_one_wanted_is_412(instance: str, path: str) -> None:
    tag = _get(instance + path).headers["ETag"]
    assert _get(instance + path, If_Match=tag).status_code == 200
    assert _get(instance + path, If_Match='"other"').status_code == 412


def test_a_range_beyond_the_end_is_416_with_the_size(instance: str) -> None:
    beyond = _get(f"{instance}/frames/1", Accept="application/octet-stream", Range="bytes=32768-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */32768")
    assert beyond.headers["Content-Type"] == "application/problem+json"


def test_metadata_is_compressed_for_who_takes_it(instance: str) -> None:
    plain = _get(f"{instance}/metadata", Accept_Encoding="identity")
    assert "Content-Encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["Vary"]
    with requests.get(
        f"{instance}/metadata", headers={"Accept-Encoding": "br, gzip"}, stream=True, timeout=60
    ) as squeezed:
        assert squeezed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(squeezed.raw.read()) == plain.content
    refused = _get(f"{instance}/metadata", Accept_Encoding="gzip;q=0")
    assert "Content-Encoding" not in refused.headers


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("accept", ["application/zip", f"application/zip; transfer-syntax={RPCL}"])
def test_a_zip_file_holds_the_part_10_objects(
    service: Service, samples: dict[str, Sample], level: int, accept: str
) -> None:
    """PS3.18 Section 8.7.5: an extension of the file for each instance, at each level."""
    sample = samples[CT]
    names = ("studies", "series", "instances")
    path = "".join(f"/{name}/{uid}" for name, uid in zip(names[:level], sample.uids, strict=False))
    answer = _get(service.root + path, Accept=accept)
    if answer.status_code == 406:  # a data store that keeps JPEG 2000, on Python 3.10
        assert accept != "application/zip"
        return
    assert answer.headers["Content-Type"] == "application/zip"
    if "transfer-syntax" not in accept:  # of native pixels the metadata tells the size
        assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{sample.uids[level - 1]}.zip"'
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        (name,) = archive.namelist()
        data_set = dcmread(BytesIO(archive.read(name)))
    assert name == f"{sample.series_instance_uid}/{sample.sop_instance_uid}.dcm"
    assert np.array_equal(data_set.pixel_array, sample.read().pixel_array)


@pytest.mark.parametrize("name", ["color3d_jpeg_baseline.dcm", CT])
def test_what_is_asked_for_as_stored_says_how_long_it_is(
    service: Service, samples: dict[str, Sample], name: str
) -> None:
    sample = samples[name]
    stored = requests.get(
        "{}/studies/{}/series/{}/instances/{}/metadata".format(service.root, *sample.uids), timeout=60
    ).json()[0]["00083002"]["Value"][0]
    url = "{}/studies/{}/series/{}/instances/{}".format(service.root, *sample.uids)
    answer = _get(url, Accept=f"application/dicom; transfer-syntax={stored}")
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert dcmread(BytesIO(answer.content)).file_meta.TransferSyntaxUID == stored


def test_the_resolutions_of_a_stored_frame_can_be_loaded_one_after_another(instance: str) -> None:
    frame = _get(f"{instance}/frames/1", Accept="image/*")
    if frame.headers["Content-Type"].startswith("image/jphc"):
        ends = [int(end) for end in frame.headers["Resolution-Ends"].split(", ")]
        assert ends == sorted(ends)
        assert all(frame.content[end : end + 2] == b"\xff\x90" for end in ends[:-1])  # the next tile-part
        assert frame.content[ends[-1] :] == b"\xff\xd9"


def test_metadata_as_xml_has_the_attributes_of_the_json(instance: str) -> None:
    """PS3.19 Annex A.1, one part for each instance."""
    answer = _get(f"{instance}/metadata", Accept='multipart/related; type="application/dicom+xml"')
    assert answer.headers["Content-Type"].startswith('multipart/related; type="application/dicom+xml"; boundary=')
    head, _, rest = answer.content.partition(b"\r\n\r\n")
    assert b"Content-Type: application/dicom+xml\r\n" in head
    document = ElementTree.fromstring(rest.rpartition(b"\r\n--")[0])  # noqa: S314 - our own
    tags = [attribute.attrib["tag"] for attribute in document]
    assert tags == list(requests.get(f"{instance}/metadata", timeout=60).json()[0])
    assert _get(f"{instance}/metadata", Accept="application/dicom+xml").status_code == 406


def test_metadata_comes_in_parts_of_it(instance: str) -> None:
    """An extension: `includefield` and `excludefield`, at each level and in each form."""
    whole = _get(f"{instance}/metadata").json()[0]
    always = {"00080005", "00080016", "00080018", "00081190", "0020000D", "0020000E"}
    tags = set()
    for level in (instance, instance.partition("/instances/")[0], instance.partition("/series/")[0]):
        answer = _get(f"{level}/metadata?includefield=Rows,00280011")
        assert answer.json() == [{tag: whole[tag] for tag in sorted(always | {"00280010", "00280011"})}]
        tags.add(answer.headers["ETag"])
        less = _get(f"{level}/metadata?excludefield=Rows", Accept_Encoding="identity")
        assert less.json() == [{tag: whole[tag] for tag in whole if tag != "00280010"}]
        tags |= {less.headers["ETag"], _get(f"{level}/metadata", Accept_Encoding="identity").headers["ETag"]}
    assert len(tags) == 3  # the study and the series have the one instance: the same bytes
    xml = _get(f"{instance}/metadata?includefield=Rows", Accept='multipart/related; type="application/dicom+xml"')
    assert xml.content.count(b"<DicomAttribute ") == len(always) + 1
    assert _get(f"{instance}/metadata?includefield=Rowz").status_code == 400


@pytest.mark.parametrize("accept", ["application/dicom+json", 'multipart/related; type="application/dicom+xml"'])
def test_metadata_is_compressed_with_zstd_for_who_takes_it(instance: str, accept: str) -> None:
    plain = _get(f"{instance}/metadata", Accept=accept, Accept_Encoding="identity")
    headers = {"Accept": accept, "Accept-Encoding": "gzip, deflate, br, zstd"}
    with requests.get(f"{instance}/metadata", headers=headers, stream=True, timeout=60) as squeezed:
        assert squeezed.headers["Content-Encoding"] == "zstd"
        body = zstd.decompress(squeezed.raw.read())
    own, its = (answer.headers["Content-Type"].partition("boundary=")[2] for answer in (plain, squeezed))
    assert body.replace(its.encode(), own.encode()) == plain.content


@pytest.mark.parametrize(
    ("path", "part"), [("/studies?limit=1", "db"), ("/frames/1/rendered?viewport=17,17", "fetchers")]
)
def test_the_time_of_an_answer_is_told_by_its_parts(service: Service, instance: str, path: str, part: str) -> None:
    answer = _get((service.root if part == "db" else instance) + path)
    parts = (one.partition(";dur=") for one in answer.headers["Server-Timing"].split(", "))
    told = {name: float(milliseconds) for name, is_time, milliseconds in parts if is_time}
    assert part in told
    assert told.get("db", 0) + told.get("fetchers", 0) <= told["total"] + 0.2
    assert max(told.get("ahi", 0), told.get("render", 0)) <= told.get("fetchers", 0) + 0.2

"""Requests for every kind of resource in every representation, mixed at random by a seed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from tests.crowd.archive import Archive, Uids

ELE, RLE, JPEG_LS, JPEG_2000, HTJ2K, HTJ2K_RPCL = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
)
_JSON = "application/dicom+json"
_XML = 'multipart/related; type="application/dicom+xml"'
_PART_10 = 'multipart/related; type="application/dicom"; transfer-syntax='
_OCTETS = 'multipart/related; type="application/octet-stream"'
_STORED = 'multipart/related; type="image/jphc"; transfer-syntax=*'


@dataclass(frozen=True)
class Ask:
    """One request: what kind it is, and what is sent; `path` is below the service root."""

    kind: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    body: bytes | None = None
    changes: bool = False
    """Whether the body of the answer is another one each time."""


class _Kind(NamedTuple):
    suffix: str
    accept: str
    coding: str | None = None


AT_EVERY_LEVEL = (
    *(_Kind("", _PART_10 + syntax) for syntax in ("*", ELE, RLE, JPEG_2000)),
    _Kind("", "application/zip"),
    _Kind("", "application/zip; transfer-syntax=*"),
    *(_Kind("/metadata", _JSON, coding) for coding in (None, "gzip", "zstd")),
    _Kind("/metadata", _XML),
    _Kind("/pixeldata", _OCTETS),
    _Kind("/pixeldata", _STORED),
    _Kind("/bulkdata", _OCTETS),
    _Kind("/bulkdata", "multipart/related; type=*/*"),
    _Kind("/rendered", "image/jpeg"),
    _Kind("/rendered?viewport=300,200&quality=60", "image/jpeg"),
    _Kind("/thumbnail", "image/jpeg"),
    _Kind("/thumbnail?viewport=64,64", "image/png"),
)
"""Resources of a study, of a series and of an instance."""

OF_AN_INSTANCE = (
    *(_Kind("", f"application/dicom; transfer-syntax={syntax}") for syntax in ("*", ELE, RLE, JPEG_LS, HTJ2K)),
    _Kind("/frames/1", "application/octet-stream"),
    _Kind("/frames/1", f"{_OCTETS}; transfer-syntax={ELE}"),
    _Kind("/frames/1", 'multipart/related; type="application/octet-stream"; transfer-syntax=*'),
    _Kind("/frames/1", _STORED),
    *(_Kind("/frames/1", accept) for accept in ("image/jphc", "image/jp2", "image/jls", "image/dicom-rle")),
    _Kind("/frames/1", "image/jpeg"),
    _Kind("/frames/1,2", _OCTETS),
    _Kind("/frames/2,1", _STORED),
    _Kind("/frames/1/rendered", "image/png"),
    _Kind("/frames/1/rendered?window=100,700,linear", "image/jpeg"),
    _Kind("/frames/1/rendered?window=40,250,sigmoid&annotation=patient", "image/jp2"),
    _Kind("/frames/1/thumbnail", "image/jpeg"),
    _Kind("/rendered", "image/gif"),
    _Kind("/rendered", "image/apng"),
    _Kind("/rendered", "text/html"),
    _Kind("/rendered", "image/svg+xml"),
    _Kind("/rendered", "application/pdf"),
    _Kind("/rendered?window=1", "image/jpeg"),
    _Kind("/bulkdata/7FE00010", "application/octet-stream"),
    _Kind("/bulkdata/00420011", "*/*"),
    _Kind("/bulkdata/54000100/1/54001010", "application/octet-stream"),
    _Kind("/frames/9999", "application/octet-stream"),
    _Kind("/frames/0", "application/octet-stream"),
)
"""Resources of an instance alone."""

SEARCHES = (
    "/patients?includefield=all",
    "/studies?includefield=all",
    "/studies?includefield=all&limit=20&offset=10&orderby=-PatientName",
    "/series?includefield=all&limit=50",
    "/instances?includefield=all&limit=50",
    "/instances?limit=500&offset=3",
    "/studies?PatientName=doe*&fuzzymatching=true",
    "/studies?ModalitiesInStudy=CT&StudyDate=19900101-20240601",
    "/studies?count=true&limit=5",
    "/studies?PatientID=PID1&includefield=PatientComments,00081030",
    "/series?Modality=CT,MR&orderby=SeriesNumber",
    "/patients/count",
    "/studies/count?PatientSex=M",
    "/series/count",
    "/instances/count",
    "/studies?PatientName=a&limit=x",
)
BELOW_A_STUDY = ("/series?includefield=all", "/instances?includefield=all", "/series/count", "/instances/count")
_BELOW_A_SERIES = ("/instances?includefield=all", "/instances/count", "/instances?Rows=64")
_WADO = (
    "contentType=image/jpeg",
    "contentType=image/png&windowCenter=100&windowWidth=500",
    "contentType=application/dicom",
    "contentType=application/dicom&transferSyntax=*",
    "contentType=image/jpeg&rows=100&columns=100&region=0.1,0.1,0.9,0.9",
    "contentType=image/jpeg&frameNumber=2",
)


def make_mix(archive: Archive, random: Random, of_each: int) -> list[Ask]:
    """Requests in random order: every kind, `of_each` times where it is for one of the archive's objects."""
    asks = [*_searches(), *_of_the_service(archive)]
    for path in (path for path, _ in _kinds(archive.instances[0])):
        for uids in random.sample(archive.instances, of_each):
            asks += [ask for other, ask in _kinds(uids) if other == path]
    for slice_uids in archive.instances[-len(archive.clinic.instances) :]:  # several to a series: what they share
        asks += [ask for _, ask in random.sample(list(_kinds(slice_uids)), 2 * of_each)]
    random.shuffle(asks)
    return asks


def _searches() -> Iterator[Ask]:
    for path in SEARCHES:
        name = f"search {path}"
        yield Ask(name, path, {"Accept": _JSON})
        if "includefield=all" in path:
            yield Ask(f"{name} xml", path, {"Accept": _XML})
            yield Ask(f"{name} csv", path, {"Accept": "text/csv"})
            yield Ask(f"{name} gzip", path, {"Accept": _JSON, "Accept-Encoding": "gzip"})


def _of_the_service(archive: Archive) -> Iterator[Ask]:
    for path in ("/live", "/health"):
        for _ in range(5):
            yield Ask(path, path)
    yield Ask("capabilities", "/", {"Accept": "application/json"})
    yield Ask("capabilities", "/studies", method="OPTIONS")
    yield Ask("prefetch", "/prefetch", changes=True)
    orders = json.dumps({"studies": sorted({uids[0] for uids in archive.instances[-3:]})}).encode()
    yield Ask("prefetch POST", "/prefetch", {"Content-Type": "application/json"}, "POST", orders, changes=True)
    for path in (
        "/studies/1.2.3/metadata",
        "/studies/1..2",
        "/nothing",
        "/studies/1.2.3/series/1.2/instances/1/frames/1",
    ):
        yield Ask(f"wrong {path}", path, {"Accept": _JSON})
    yield Ask("wrong method", "/studies", method="DELETE")


def _kinds(uids: Uids) -> Iterator[tuple[str, Ask]]:
    """Every kind of resource of one object, by what is the same for every object."""
    study, series, instance = uids
    paths: Sequence[tuple[str, str]] = (
        ("study", f"/studies/{study}"),
        ("series", f"/studies/{study}/series/{series}"),
        ("instance", f"/studies/{study}/series/{series}/instances/{instance}"),
    )
    for level, path in paths:
        kinds = (*AT_EVERY_LEVEL, *(OF_AN_INSTANCE if level == "instance" else ()))
        for suffix, accept, coding in kinds:
            headers = {"Accept": accept, **({"Accept-Encoding": coding} if coding else {})}
            name = f"{level}{suffix} {accept} {coding or ''}"
            yield name, Ask(name, path + suffix, headers)
    for suffix in BELOW_A_STUDY:
        yield f"study{suffix}", Ask(f"study{suffix}", paths[0][1] + suffix, {"Accept": _JSON})
    for suffix in _BELOW_A_SERIES:
        yield f"series{suffix}", Ask(f"series{suffix}", paths[1][1] + suffix, {"Accept": _JSON})
    for more in _WADO:
        named = f"/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}&{more}"
        yield f"wado {more}", Ask(f"wado {more}", named)

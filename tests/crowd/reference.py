"""What the right answers are: those of one quiet pass, of which some are held to the sources by pydicom."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.crowd.archive import Archive
from tests.crowd.client import Client
from tests.crowd.mix import ELE, JPEG_2000, Ask, make_mix
from tests.service.answers import Answer
from tests.service.clinic import KEPT_AS, SLICES, Clinic
from tests.service.expected import AS_JPEG_2000, NATIVE, STORED, Check, document, files, frames, metadata, picture, rows

_KEPT_BYTES = 2**18
_RELATED = 'multipart/related; type="{}"; transfer-syntax={}'


@dataclass(frozen=True)
class Reference:
    """What a request is answered with; the body itself only where it is short."""

    status: int
    content_type: str
    etag: str | None
    has_ranges: bool
    body_bytes: int
    digest: bytes
    body: bytes | None

    @classmethod
    def from_answer(cls, answer: Answer) -> "Reference":
        body = answer.body if len(answer.body) <= _KEPT_BYTES else None
        digest = hashlib.blake2b(answer.body).digest()
        has_ranges = answer.headers.get("Accept-Ranges") == "bytes"
        tag = answer.headers.get("ETag")
        return cls(answer.status, answer.content_type, tag, has_ranges, len(answer.body), digest, body)

    def variant(self, ask: Ask, random: Random) -> Ask:
        """The request itself mostly; else the same as HEAD, on a condition, or for a range."""
        chosen = random.random()
        if ask.method != "GET" or chosen > 0.3:
            return ask
        if chosen < 0.1:
            return _with(ask, "HEAD")
        if chosen < 0.2 and self.etag and self.status == 200:
            return _with(ask, "GET", {"If-None-Match": self.etag})
        if self.has_ranges and self.body:
            first = random.randrange(len(self.body))
            return _with(ask, "GET", {"Range": f"bytes={first}-{random.randrange(first, len(self.body))}"})
        return ask

    def problem(self, ask: Ask, answer: Answer) -> str | None:
        """What is wrong with an answer to a request or a variant of it; None if nothing is."""
        expected: tuple[int, bytes | None] = (self.status, self.body)
        if "If-None-Match" in ask.headers:
            expected = (304, b"")
        elif ask.method == "HEAD":
            expected = (self.status, b"")
        elif "Range" in ask.headers and self.body and answer.status == 206:
            first, last = map(int, ask.headers["Range"].removeprefix("bytes=").split("-"))
            if answer.headers["Content-Range"] != f"bytes {first}-{last}/{len(self.body)}":
                return f"Content-Range is {answer.headers['Content-Range']}"
            expected = (206, self.body[first : last + 1])
        if answer.status != expected[0]:
            return f"{answer.status} instead of {expected[0]}: {answer.body[:300]!r}"
        if ask.changes:
            return None
        if expected[0] != 304 and answer.content_type != self.content_type:
            return f"Content-Type is {answer.content_type} instead of {self.content_type}"
        if self.etag and answer.headers.get("ETag") != self.etag:
            return f"ETag is {answer.headers.get('ETag')} instead of {self.etag}"
        right = (
            hashlib.blake2b(answer.body).digest() == self.digest
            if expected[0] == self.status and expected[1] is None
            else answer.body == expected[1]
        )
        return None if right else f"another body, of {len(answer.body)} bytes where {self.body_bytes} are all"


def _with(ask: Ask, method: str, headers: dict[str, str] | None = None) -> Ask:
    return Ask(ask.kind, ask.path, {**ask.headers, **(headers or {})}, method, ask.body, ask.changes)


def expected_answers(client: Client, archive: Archive, random: Random, of_each: int) -> list[tuple[Ask, Reference]]:
    """A mix of requests, each with its answer; they are asked one after the other.

    AssertionError for an answer that is not what its source is, or that says that the service has failed.
    """
    checks = list(held_to_the_source(archive.clinic))
    found = []
    for ask in [*(ask for ask, _ in checks), *make_mix(archive, random, of_each)]:
        answer = client.answer(ask)
        for held, check in checks:
            if held is ask:
                check(answer, archive.clinic)
        assert answer.status < 500 or _is_about_the_object(answer), f"{answer.status} for {ask}: {answer.body[:300]!r}"
        found.append((ask, Reference.from_answer(answer)))
    return found


def _is_about_the_object(answer: Answer) -> bool:
    """Whether AHI has something that cannot be decoded; some samples are broken on purpose."""
    return answer.status == 502


def held_to_the_source(clinic: Clinic) -> Iterator[tuple[Ask, Check]]:
    """Requests whose answers are compared with the files that were imported, pixel for pixel, and how."""
    paths = clinic.paths
    ct, series, study = paths["ct"], paths["ct_series"], paths["ct_study"]
    part_10 = "application/dicom"
    for kind, path, accept, check in (
        ("native", f"{ct}/frames/1", NATIVE, frames(NATIVE, 1, single=True)),
        ("stored", f"{ct}/frames/1", STORED, frames(STORED, 1, single=True)),
        ("encoded", f"{ct}/frames/1", AS_JPEG_2000, frames(AS_JPEG_2000, 1, single=True)),
        ("slide", f"{paths['slide']}/frames/1,2", f'multipart/related; type="{NATIVE.split(";")[0]}"',
         frames(NATIVE, 1, 2, of="slide")),
        ("as stored", series, _RELATED.format(part_10, "*"), files(SLICES, KEPT_AS)),
        ("explicit", study, _RELATED.format(part_10, ELE), files(SLICES + 2)),
        ("encoded files", series, _RELATED.format(part_10, JPEG_2000), files(SLICES, JPEG_2000)),
        ("metadata", f"{study}/metadata", "application/dicom+json", metadata(SLICES + 2)),
        ("search", "/studies?PatientID=PID1", "application/dicom+json", rows(1, "0020000D")),
        ("picture", f"{ct}/rendered", "image/jpeg", picture("image/jpeg")),
        ("document", f"{paths['document']}/bulkdata/00420011", 'multipart/related; type="application/pdf"', document),
    ):  # fmt: skip
        yield Ask(f"held to the source: {kind}", path, {"Accept": accept}), check

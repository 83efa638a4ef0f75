"""What AHI answers is held to what it should be, on a running service: nothing else is sent, nothing else is kept."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

from tests.service.ahi import Ahi
from tests.service.archive import Sample
from tests.service.process import PROGRAM, Service

STRANGE = ("html", "empty", "list", "object", "wrong-types", "deep", "deep-gzip", "bomb")
STORED = "multipart/related; type=application/octet-stream; transfer-syntax=*, */*; transfer-syntax=*"
CODECS = {
    "CT_small.dcm": "HTJ2K",
    "color3d_jpeg_baseline.dcm": "JPEG",
    "examples_ybr_color.dcm": "HTJ2K in colour",
    "JPEG2000.dcm": "JPEG 2000",
    "liver_1frame.dcm": "native",
}
FAULTS = ("body=html", "body=empty", "body=object", "body=deep", "half", "corrupt")
FRAME_FORMS = {
    "frames/1": STORED,
    "": 'multipart/related; type="application/dicom"; transfer-syntax=*',
    "frames/1 ": "application/octet-stream",
}
DRAWN = dict(
    zip(
        [(form, fault) for form in ("thumbnail", "rendered") for fault in FAULTS],
        ("MR_small.dcm", "MR_small_RLE.dcm", "US1_J2KR.dcm", "US1_UNCR.dcm", "MR2_J2KR.dcm", "MR2_UNCR.dcm",
         "693_J2KR.dcm", "693_UNCR.dcm", "RG1_J2KR.dcm", "RG1_UNCR.dcm", "OBXXXX1A.dcm", "JPEG-LL.dcm"),
        strict=True,
    )
)  # fmt: skip
"""Pictures, each of a sample that was not drawn before: fetchers hold in memory what they have decoded."""


@pytest.fixture(scope="module")
def faced(datastore_root: Path, ahi: Ahi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service in front of it."""
    environment = {
        **ahi.environment(),
        "AHI_DEADLINE_SECONDS": "1",
        "PREFETCH_FRAMES": "0",
        "WEB_PROCESSES": "1",
        "FRAME_FETCHERS": "1",
    }
    service = Service(tmp_path_factory.mktemp("faced"), environment)
    yield service
    assert "Traceback" not in service.log
    assert service.stop() == 0


@pytest.fixture(scope="module")
def images(clinic_root: Path) -> Iterator[Ahi]:
    """A data store of images: of the samples, the newest have no frames."""
    images = Ahi(clinic_root)
    yield images
    images.stop()


@pytest.fixture(autouse=True)
def _healed(ahi: Ahi) -> Iterator[None]:
    yield
    ahi.faults("")


def _url(service: Service, sample: Sample) -> str:
    study, series, instance = sample.uids
    return f"{service.root}/studies/{study}/series/{series}/instances/{instance}"


def _forget(service: Service) -> None:
    """Empty the cache; what processes hold in memory stays."""
    for path in (service.log_path.parent / "cache").rglob("*"):
        if path.is_file():
            path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def fresh(samples: Mapping[str, Sample], faced: Service) -> Iterator[Sample]:
    """Samples, one after another, which nobody has asked for."""
    return iter(
        sample for name, sample in samples.items() if name.endswith(".dcm") and name not in {*CODECS, *DRAWN.values()}
    )


@pytest.mark.parametrize("operation", ["GetImageSet", "GetImageSetMetadata"])
@pytest.mark.parametrize(
    "fault", [*(f"body={name}" for name in STRANGE), "half", "corrupt", "cut", "cut-body", "longer=9"]
)
def test_image_sets_that_are_something_else_are_an_error_of_ahi(
    faced: Service, ahi: Ahi, fresh: Iterator[Sample], operation: str, fault: str
) -> None:
    url = f"{_url(faced, next(fresh))}/metadata"
    ahi.faults(f"{operation}:{fault}")
    answer = requests.get(url, timeout=60)
    if (operation, fault) == ("GetImageSet", "longer=9"):
        assert answer.status_code == 200  # JSON that comes to its end is whole
        return
    assert answer.status_code in (502, 503), answer.text
    assert "Retry-After" in answer.headers or fault == "body=bomb"  # which is too long, and will be
    assert "SECRET" not in answer.text
    ahi.faults("")
    assert requests.get(url, timeout=60).status_code == 200


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("form", FRAME_FORMS)
def test_frames_that_are_something_else_are_neither_sent_nor_kept(
    faced: Service, ahi: Ahi, samples: Mapping[str, Sample], name: str, fault: str, form: str
) -> None:
    url = f"{_url(faced, samples[name])}/{form.strip()}".rstrip("/")
    headers = {"Accept": FRAME_FORMS[form]}
    right = requests.get(url, headers=headers, timeout=60)
    _forget(faced)
    ahi.calls()
    ahi.faults(f"GetImageFrame:{fault}")
    answer = requests.get(url, headers=headers, timeout=60)
    if fault == "corrupt" and answer.status_code == 200:  # a byte within coded pixels is for VERIFY_FRAMES=decode
        assert CODECS[name].startswith(("HTJ2K", "JPEG 2000"))
        assert form in ("frames/1", "")
        _forget(faced)
    else:
        assert answer.status_code == 502, answer.text
        calls = ahi.calls()["GetImageFrame"]
        assert calls == 2 or (form == "" and calls > 2)  # an instance may have more frames
    ahi.faults("")
    faced.wait(lambda: requests.get(url, headers=headers, timeout=60).status_code == 200)  # frames in flight
    again = requests.get(url, headers=headers, timeout=60)
    assert (again.status_code, _digest(again)) == (right.status_code, _digest(right))


@pytest.mark.parametrize(("form", "fault"), DRAWN)
def test_nothing_is_drawn_of_what_is_no_frame(
    faced: Service, ahi: Ahi, samples: Mapping[str, Sample], form: str, fault: str
) -> None:
    url = f"{_url(faced, samples[DRAWN[form, fault]])}/{form}"
    ahi.faults(f"GetImageFrame:{fault}")
    answer = requests.get(url, timeout=60)
    assert answer.status_code == 502 or (form, fault) == ("thumbnail", "corrupt"), answer.headers
    ahi.faults("")
    assert requests.get(url, timeout=60).status_code == 200


def _digest(answer: requests.Response) -> str:
    boundary = answer.headers.get("Content-Type", "").partition("boundary=")[2].strip('"').encode()
    return hashlib.sha256(answer.content.replace(boundary, b"") if boundary else answer.content).hexdigest()


def test_a_frame_that_is_wrong_once_is_fetched_again(faced: Service, ahi: Ahi, samples: Mapping[str, Sample]) -> None:
    url = f"{_url(faced, samples['CT_small.dcm'])}/frames/1"
    right = requests.get(url, headers={"Accept": STORED}, timeout=60)
    for fault in ("body=html", "half"):
        _forget(faced)
        ahi.faults(f"GetImageFrame:{fault}:x1")
        answer = requests.get(url, headers={"Accept": STORED}, timeout=60)
        assert (answer.status_code, _digest(answer)) == (200, _digest(right))


@pytest.mark.parametrize("operation", ["GetImageSet", "GetImageSetMetadata", "GetImageFrame", "GetDatastore"])
@pytest.mark.parametrize("fault", [*(f"body={name}" for name in STRANGE if name != "bomb"), "half", "404", "429"])
def test_check_says_what_ahi_answers(images: Ahi, operation: str, fault: str) -> None:
    images.faults(f"{operation}:{fault}")
    environment = {**os.environ, **images.environment(AHI_DEADLINE_SECONDS="1")}
    command = [*PROGRAM, "check", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr.count("Traceback") == 0, done.stderr
    levels = {finding["what"]: finding["level"] for finding in json.loads(done.stdout)}
    told = {levels.get(what) for what in (operation, "AHI", "image sets")}
    if operation != "GetDatastore":  # of which nothing is needed but that it answers
        assert told & {"error", "warning"}, done.stdout

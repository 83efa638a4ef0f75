"""WADO-URI (PS3.18 Section 9) over a real socket: one object, or one picture, always a single part."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from pydicom import dcmread

from tests.service.archive import Sample
from tests.service.process import Service

CT = "CT_small.dcm"
MULTI_FRAME = "examples_ybr_color.dcm"
REPORT = "test-SR.dcm"
LOSSY = "color3d_jpeg_baseline.dcm"
NAMES = ("studyUID", "seriesUID", "objectUID")
ELE = "1.2.840.10008.1.2.1"


def _get(
    service: Service, sample: Sample, headers: dict[str, str] | None = None, **parameters: str
) -> requests.Response:
    query = {"requestType": "WADO", **dict(zip(NAMES, sample.uids, strict=True)), **parameters}
    return requests.get(f"{service.root}/wado", params=query, headers=headers or {}, timeout=60)


@pytest.mark.parametrize(
    ("name", "expected"),
    [(CT, "image/jpeg"), (MULTI_FRAME, "application/dicom"), (REPORT, "text/html")],
)
def test_an_image_is_a_picture_by_default_a_report_a_page_and_all_else_an_object(
    service: Service, samples: dict[str, Sample], name: str, expected: str
) -> None:
    answer = _get(service, samples[name])
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].partition(";")[0] == expected


@pytest.mark.parametrize("syntax", ["", ELE, "*", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"])
def test_an_object_comes_in_the_transfer_syntax_asked_for(
    service: Service, samples: dict[str, Sample], syntax: str
) -> None:
    """With the Accept header that OHIF sends: contentType decides (clients.md, section 3)."""
    accept = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
    answer = _get(service, samples[CT], accept, contentType="application/dicom", transferSyntax=syntax)
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    data_set = dcmread(BytesIO(answer.content))
    uid = data_set.file_meta.TransferSyntaxUID
    assert answer.headers["Content-Type"] == f"application/dicom; transfer-syntax={uid}"
    assert uid.is_compressed if syntax == "*" else uid == (syntax or ELE)
    assert np.array_equal(data_set.pixel_array, samples[CT].read().pixel_array)


def test_a_picture_is_that_of_wado_rs(service: Service, samples: dict[str, Sample]) -> None:
    for name, frame in ((CT, "1"), (MULTI_FRAME, "2")):
        url = "{}/studies/{}/series/{}/instances/{}".format(service.root, *samples[name].uids)
        rs = requests.get(f"{url}/frames/{frame}/rendered", headers={"Accept": "image/png"}, timeout=60)
        answer = _get(service, samples[name], contentType="image/png", frameNumber=frame)
        assert (answer.headers["Content-Type"], answer.content) == ("image/png", rs.content)
    default = _get(service, samples[MULTI_FRAME], contentType="image/jpeg")
    assert Image.open(BytesIO(default.content)).format == "JPEG"


def test_a_report_has_one_transfer_syntax_whatever_is_asked_for(service: Service, samples: dict[str, Sample]) -> None:
    """Weasis names one for all objects of a study."""
    answer = _get(service, samples[REPORT], contentType="application/dicom", transferSyntax="1.2.840.10008.1.2.4.202")
    assert dcmread(BytesIO(answer.content)).file_meta.TransferSyntaxUID == ELE


@pytest.mark.parametrize(
    ("name", "parameters", "status"),
    [
        (CT, {"requestType": "QIDO"}, 400),
        (CT, {"studyUID": "one"}, 400),
        (CT, {"studyUID": "1.2.3"}, 404),
        (CT, {"seriesUID": "1.2.3"}, 404),
        (CT, {"objectUID": "1.2.3"}, 404),
        (CT, {"presentationUID": "1.2.3", "presentationSeriesUID": "1.2"}, 404),
        (CT, {"frameNumber": "2"}, 400),
        (CT, {"frameNumber": "0"}, 400),
        (CT, {"anonymize": "yes"}, 400),
        (CT, {"contentType": "video/mp4"}, 406),
        (REPORT, {"contentType": "image/jpeg"}, 406),
        (LOSSY, {"contentType": "application/dicom", "transferSyntax": "1.2.840.10008.1.2.4.202"}, 406),
        (LOSSY, {"contentType": "application/dicom", "transferSyntax": "1.2.840.10008.1.2.4.50"}, 200),
    ],
)
def test_what_is_wrong_is_told(
    service: Service, samples: dict[str, Sample], name: str, parameters: dict[str, Any], status: int
) -> None:
    answer = _get(service, samples[name], **parameters)
    assert answer.status_code == status, answer.text[:200]
    if status >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_it_is_cached_as_wado_rs_is(service: Service, samples: dict[str, Sample]) -> None:
    first = _get(service, samples[CT])
    known = _get(service, samples[CT], {"If-None-Match": first.headers["ETag"]})
    assert (known.status_code, known.headers["ETag"]) == (304, first.headers["ETag"])
    other = _get(service, samples[CT], contentType="image/png")
    assert other.headers["ETag"] != first.headers["ETag"]


def test_the_rendering_parameters_count(service: Service, samples: dict[str, Sample]) -> None:
    """PS3.18 Section 9.4.1.2: window, size and quality."""
    plain = _get(service, samples[CT], contentType="image/png")
    asked: dict[str, Any] = {"windowCenter": "40", "windowWidth": "400", "rows": "64", "columns": "64"}
    drawn = _get(service, samples[CT], contentType="image/png", **asked)
    assert (drawn.status_code, "Warning" in drawn.headers) == (200, False)
    assert Image.open(BytesIO(drawn.content)).size == (64, 64)
    assert Image.open(BytesIO(plain.content)).size == (128, 128)

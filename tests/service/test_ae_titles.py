"""AE titles over a real socket: what is hidden cannot be retrieved, in no form and at no level."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from dicomweb_client import DICOMwebClient

from datastore.storage.storage import Storage
from tests.service.archive import Sample
from tests.service.process import Service
from tests.service.resources import BELOW_A_STUDY, path_of

CT, MR = "CT_small.dcm", "MR_small.dcm"


@pytest.fixture(scope="module")
def titled(
    datastore_root: Path, samples: dict[str, Sample], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service with AE titles: of the data store, of another one, of a modality, and of one study."""
    datastore_id = Storage.open(datastore_root / "store").datastore.datastore_id
    titles = {
        "ours": {"datastores": [datastore_id]},
        "theirs": {"datastores": ["0" * 32]},
        "ct": {"filter": {"Modality": "CT"}},
        "one": {"filter": {"StudyInstanceUID": samples[MR].study_instance_uid}},
    }
    environment = {"DATASTORE_ROOT": str(datastore_root), "AE_TITLES": json.dumps(titles), "DCM4CHEE_PATHS": "true"}
    service = Service(tmp_path_factory.mktemp("titled"), environment)
    yield service
    assert service.stop() == 0


def get(service: Service, root: str, path: str, sample: Sample) -> requests.Response:
    path = path_of(path, sample)
    return requests.get(f"http://127.0.0.1:{service.port}/{root}{path}", timeout=60)


@pytest.mark.parametrize("path", BELOW_A_STUDY)
def test_what_is_hidden_is_not_found_anywhere(titled: Service, samples: dict[str, Sample], path: str) -> None:
    for root, sample in (("theirs", CT), ("ct", MR), ("one", CT)):
        hidden = get(titled, root, path, samples[sample])
        assert hidden.status_code == 404, root
        assert "no such" in hidden.json()["detail"]


@pytest.mark.parametrize("path", BELOW_A_STUDY)
def test_what_is_shown_is_the_same_everywhere(titled: Service, samples: dict[str, Sample], path: str) -> None:
    for root, sample in (("ours", CT), ("ct", CT), ("one", MR), ("dcm4chee-arc/aets/ours/rs", CT)):
        expected, shown = get(titled, "aetitle", path, samples[sample]), get(titled, root, path, samples[sample])
        assert (shown.status_code, shown.headers["Content-Type"].partition(";")[0]) == (
            expected.status_code,
            expected.headers["Content-Type"].partition(";")[0],
        )


def test_a_client_of_an_ae_title_stays_there(titled: Service, samples: dict[str, Sample]) -> None:
    root = f"http://127.0.0.1:{titled.port}/ct"
    client = DICOMwebClient(root)
    sample = samples[CT]
    assert {tuple(one["00080061"]["Value"]) for one in client.search_for_studies(limit=500)} == {("CT",)}
    (metadata,) = client.retrieve_series_metadata(*sample.uids[:2])
    assert metadata["00081190"]["Value"][0].startswith(f"{root}/studies/{sample.study_instance_uid}")
    assert metadata["7FE00010"]["BulkDataURI"].startswith(f"{root}/studies/{sample.study_instance_uid}")
    assert len(client.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"])[0]) == 128 * 128 * 2


def test_equal_tags_are_of_equal_answers_across_ae_titles(titled: Service, samples: dict[str, Sample]) -> None:
    by_tag: dict[str, bytes] = {}
    for root in ("aetitle", "ours", "ct", "dcm4chee-arc/aets/ct/rs"):
        for path in ("/studies/<study>/metadata", "/studies/<study>/series/<series>/instances/<instance>/frames/1"):
            answer = get(titled, root, path, samples[CT])
            assert by_tag.setdefault(answer.headers["ETag"], answer.content) == answer.content
    assert len(by_tag) == 8


def test_an_unknown_ae_title_is_404(titled: Service, samples: dict[str, Sample]) -> None:
    for root in ("unknown", "ct/ours", "dcm4chee-arc/aets/unknown/rs"):
        assert get(titled, root, "/studies", samples[CT]).status_code == 404

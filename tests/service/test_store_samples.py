"""Every sample that is stored by POST is answered exactly as one that was imported by file."""

from collections.abc import Iterator
from urllib.parse import quote

import pytest
import requests

from tests.service.archive import Sample
from tests.service.process import Service
from tests.service.storing import Storing, storing

pytestmark = pytest.mark.slow

_RESOURCES = {
    "metadata": ("/metadata", "application/dicom+json"),
    "as stored": ("", "application/dicom; transfer-syntax=*"),
    "in explicit little endian": ("", "application/dicom"),
}
_FILES = 10  # in one request


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Sample]) -> Iterator[Storing]:
    """A service to which all samples were posted, some in each request."""
    with storing(tmp_path_factory.mktemp("posted")) as running:
        all_samples = list(samples.values())
        for at in range(0, len(all_samples), _FILES):
            some = all_samples[at : at + _FILES]
            answer = running.post(*(sample.path.read_bytes() for sample in some), timeout=300)
            assert answer.status_code in (200, 202), answer.text
            assert "00081198" not in answer.json(), (answer.headers, [sample.name for sample in some])
        yield running


def answers(root: str, sample: Sample) -> dict[str, tuple[int, bytes]]:
    """Status and body of each resource, with the root of the service taken out."""
    study, series, instance = (quote(uid, safe="") for uid in sample.uids)
    found = {}
    for name, (ending, accept) in _RESOURCES.items():
        url = f"{root}/studies/{study}/series/{series}/instances/{instance}{ending}"
        answer = requests.get(url, headers={"Accept": accept}, timeout=120)
        body = answer.content if answer.ok else b""
        found[name] = (answer.status_code, body.replace(root.encode(), b""))
    return found


def test_posted_and_imported_are_the_same(running: Storing, service: Service, samples: dict[str, Sample]) -> None:
    differing = []
    for sample in samples.values():
        posted, imported = answers(running.service.root, sample), answers(service.root, sample)
        differing += [(sample.name, name, posted[name][0]) for name in _RESOURCES if posted[name] != imported[name]]
    assert differing == []
    assert len(samples) > 200

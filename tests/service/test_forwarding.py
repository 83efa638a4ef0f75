"""A service that stores loses and doubles nothing that it acknowledged, whatever of it is killed, and whenever."""

from collections.abc import Iterator

import pytest
import requests

from tests.datastore.made import made
from tests.service.storing import Storing, stored_uids, storing
from tests.store.forward.live import file_of


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storing]:
    with storing(tmp_path_factory.mktemp("storing")) as running:
        yield running


def of(study: int, number: int, **elements: str) -> bytes:
    """An instance of a study of its own."""
    uids = {"StudyInstanceUID": f"1.2.9.{study}", "SOPInstanceUID": f"1.2.9.{study}.1.{number}"}
    return file_of(made(**{**uids, "SeriesInstanceUID": f"1.2.9.{study}.1", **elements}))


def test_what_is_acknowledged_can_be_searched_and_retrieved_at_once(shared: Storing) -> None:
    for number in range(3):
        answer = shared.post(of(1, number))
        assert answer.status_code == 200, answer.text
        assert stored_uids(answer) == [f"1.2.9.1.1.{number}"]
        assert len(shared.found(StudyInstanceUID="1.2.9.1")) == number + 1
        retrieved = shared.retrieved("1.2.9.1", "1.2.9.1.1", f"1.2.9.1.1.{number}")
        assert retrieved.status_code == 200, retrieved.text
    study = requests.get(f"{shared.service.root}/studies/1.2.9.1/metadata", timeout=60)
    assert len(study.json()) == 3

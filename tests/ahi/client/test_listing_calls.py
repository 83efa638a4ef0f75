"""Lists of data stores and image sets over real HTTP: pages, rates, conflicts, and refusals."""

import time
from collections.abc import Iterator
from datetime import datetime, timezone

import pytest

from ahi.client.calls import AhiClient
from ahi.client.listing_calls import UPDATED_AT, TimeRange
from ahi.client.rates import CallRates
from ahi.image_sets.image_set import ImageSetKey
from datastore.serving.faults import Faults, parse_faults
from dicomweb.errors import NotFound, UpstreamBusy, UpstreamLocked
from tests.datastore.shelf import DATASTORE_ID, Shelf, identifier, image_set
from tests.datastore_server import served


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def client(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> Iterator[AhiClient]:
    tags = {"DICOMNumberOfStudyRelatedInstances": 7}
    shelf = Shelf(*(image_set(number, tags=tags, is_primary=number != 3) for number in range(1, 121)))
    with served(shelf, faults) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        client = AhiClient(region="us-east-1", deadline_seconds=20, rates=CallRates(), conflict_seconds=0.5)
        yield client
        client.close()


def test_data_stores_are_listed(client: AhiClient) -> None:
    assert client.listing.datastores() == [DATASTORE_ID]


def test_pages_follow_each_other(client: AhiClient) -> None:
    found, token, sizes = list[str](), None, list[int]()
    while True:
        page = client.listing.image_sets(DATASTORE_ID, TimeRange(), token)
        sizes.append(len(page.image_sets))
        found += [each.image_set_id for each in page.image_sets]
        if not (token := page.next_token):
            break
    assert sizes == [50, 50, 20]
    assert found == [identifier(number) for number in range(1, 121)]


def test_a_summary_is_a_typed_value(client: AhiClient) -> None:
    third = client.listing.image_sets(DATASTORE_ID, TimeRange()).image_sets[2]
    assert (third.version, third.is_primary, third.is_archived, third.instances) == (1, False, False, 7)
    assert third.updated_at == datetime.fromtimestamp(1_704_067_203.25, timezone.utc)


def test_a_range_is_asked_for(client: AhiClient) -> None:
    first, last = (datetime.fromtimestamp(1_704_067_200 + seconds, timezone.utc) for seconds in (5, 9))
    page = client.listing.image_sets(DATASTORE_ID, TimeRange(UPDATED_AT, first, last))
    assert [each.image_set_id for each in page.image_sets] == [identifier(number) for number in (5, 6, 7, 8)]


def test_an_unknown_data_store_and_a_stale_token_are_not_found(client: AhiClient, faults: Faults) -> None:
    with pytest.raises(NotFound):
        client.listing.image_sets("e" * 32, TimeRange())
    with pytest.raises(NotFound):
        client.listing.image_sets(DATASTORE_ID, TimeRange(), "c3RhbGU=")


def test_throttling_is_waited_out_for_longer_than_the_first_delays(client: AhiClient, faults: Faults) -> None:
    faults.replace(parse_faults("SearchImageSets:429:x5,SearchImageSets:500:x1"))
    assert len(client.listing.image_sets(DATASTORE_ID, TimeRange()).image_sets) == 50


def test_a_locked_image_set_is_given_up_soon(client: AhiClient, faults: Faults) -> None:
    faults.replace(parse_faults("GetImageSetMetadata:409"))
    began = time.monotonic()
    with pytest.raises(UpstreamLocked) as raised:
        client.image_set_metadata(ImageSetKey(DATASTORE_ID, identifier(1)), "1")
    assert isinstance(raised.value, UpstreamBusy)
    assert time.monotonic() - began < 10  # of 20


def test_no_more_calls_are_made_than_the_rate_allows(client: AhiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = AhiClient(region="us-east-1", rates=CallRates({"SearchImageSets": 10.0}))
    began = time.monotonic()
    for _ in range(30):
        limited.listing.image_sets(DATASTORE_ID, TimeRange(), size=1)
    limited.close()
    assert time.monotonic() - began > 0.9 * (30 - 10) / 10

"""The listing of a whole data store by several threads: nothing is missed, whatever AHI answers meanwhile."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import pytest

from ahi.client.calls import AhiClient
from ahi.client.listing_calls import ListedImageSet, TimeRange
from ahi.client.rates import CallRates
from ahi.client.retries import RetryingCaller
from datastore.serving.faults import Faults, parse_faults
from dicomweb.errors import NotFound, UpstreamFailed
from index.ahi.listing import Listing, ListingStopped
from tests.datastore.shelf import DATASTORE_ID, Shelf, identifier, image_set
from tests.datastore_server import served

MANY = 1500
EVENLY = [float(number) for number in range(MANY)]
YEARS = 150_000_000.0
CLUSTERED = [YEARS * (number % 3) / 2 + number / 100 for number in range(MANY)]
"""Three imports, years apart, of 150 image sets a second at least."""
AT_ONCE = [7.25] * MANY
_chance = random.Random(5)  # noqa: S311 - a test's
RANDOM = [_chance.uniform(0, YEARS) for _ in range(MANY)]
NEWEST_LAST = [*([0.0] * 60), *(YEARS + number for number in range(MANY - 60))]
SPREADS = {"evenly": EVENLY, "clustered": CLUSTERED, "at once": AT_ONCE, "random": RANDOM, "newest last": NEWEST_LAST}


class Found:
    """Takes pages of several threads."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def take(self, image_sets: Sequence[ListedImageSet]) -> None:
        self.ids += [found.image_set_id for found in image_sets]


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def new_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], AhiClient]]:
    clients: list[AhiClient] = []

    def new(url: str) -> AhiClient:
        monkeypatch.setenv("AWS_ENDPOINT_URL_MEDICAL_IMAGING", url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        rates = CallRates({"SearchImageSets": 1000.0})
        clients.append(AhiClient(region="us-east-1", deadline_seconds=60, rates=rates))
        return clients[-1]

    yield new
    for client in clients:
        client.close()


def made(moments: Sequence[float]) -> Shelf:
    return Shelf(
        *(image_set(number, created_at=1.7e9 + moment, updated_at=1.7e9) for number, moment in enumerate(moments, 1))
    )


@pytest.mark.parametrize("spread", SPREADS)
def test_everything_is_listed(spread: str, new_client: Callable[[str], AhiClient], faults: Faults) -> None:
    found = Found()
    with served(made(SPREADS[spread]), faults) as url:
        Listing(new_client(url).listing, DATASTORE_ID, found.take, threads=8).run()
    assert set(found.ids) == {identifier(number) for number in range(1, MANY + 1)}
    assert len(found.ids) < 1.5 * MANY  # ranges overlap by seconds
    assert faults.calls()["SearchImageSets"] < 3 * MANY / 50


@pytest.mark.parametrize("number", [0, 1, 49, 50, 51, 100])
def test_a_small_data_store_takes_few_calls(
    number: int, new_client: Callable[[str], AhiClient], faults: Faults
) -> None:
    found = Found()
    with served(made(EVENLY[:number]), faults) as url:
        Listing(new_client(url).listing, DATASTORE_ID, found.take).run()
    assert sorted(found.ids) == [identifier(each) for each in range(1, number + 1)]
    assert faults.calls()["SearchImageSets"] <= 3


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("SearchImageSets:429:0.2", id="throttled"),
        pytest.param("SearchImageSets:500:0.1,SearchImageSets:503:0.1", id="errors"),
        pytest.param("SearchImageSets:cut:0.1,SearchImageSets:cut-body:0.1", id="cut"),
        pytest.param("SearchImageSets:latency=80ms", id="slow"),
        pytest.param("SearchImageSets:half:0.1,SearchImageSets:body=html:0.1", id="unreadable"),
        pytest.param("SearchImageSets:rate=40/20", id="a lower quota"),
    ],
)
def test_everything_is_listed_in_spite_of_faults(
    fault: str, new_client: Callable[[str], AhiClient], faults: Faults
) -> None:
    found = Found()
    with served(made(CLUSTERED), faults) as url:
        faults.replace(parse_faults(fault))
        Listing(new_client(url).listing, DATASTORE_ID, found.take, threads=8).run()
    assert set(found.ids) == {identifier(number) for number in range(1, MANY + 1)}


def test_tokens_that_expire_are_replaced(
    new_client: Callable[[str], AhiClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every seventh token is refused, as one that is too old."""
    found, lock, tokens = Found(), threading.Lock(), [0]
    with served(made(RANDOM)) as url:
        calls = new_client(url).listing
        usual = calls.image_sets

        def expiring(datastore_id: str, times: object, token: str | None = None, size: int = 50) -> object:
            with lock:
                tokens[0] += token is not None
                is_stale = token is not None and tokens[0] % 7 == 0
            return usual(datastore_id, times, "c3RhbGU=" if is_stale else token, size)  # type: ignore[arg-type]

        monkeypatch.setattr(calls, "image_sets", expiring)
        Listing(calls, DATASTORE_ID, found.take, threads=4).run()
    assert tokens[0] > 7
    assert set(found.ids) == {identifier(number) for number in range(1, MANY + 1)}


def test_tokens_that_never_work_are_an_error(
    new_client: Callable[[str], AhiClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(made(AT_ONCE)) as url:
        calls = new_client(url).listing
        usual = calls.image_sets
        monkeypatch.setattr(
            calls, "image_sets", lambda ds, times, token=None, size=50: usual(ds, times, token and "c3RhbGU=", size)
        )
        with pytest.raises(NotFound):
            Listing(calls, DATASTORE_ID, Found().take, threads=2).run()


def test_a_page_that_is_followed_by_itself_is_an_error(
    new_client: Callable[[str], AhiClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(made(AT_ONCE)) as url:
        calls = new_client(url).listing
        token = calls.image_sets(DATASTORE_ID, TimeRange()).next_token
        usual = calls._client.search_image_sets
        monkeypatch.setattr(calls._client, "search_image_sets", lambda **asked: {**usual(**asked), "nextToken": token})
        with pytest.raises(UpstreamFailed):
            Listing(calls, DATASTORE_ID, Found().take, threads=2).run()


@pytest.mark.parametrize("way", ["in a circle", "of nothing"])
def test_pages_that_never_end_are_an_error(
    way: str, new_client: Callable[[str], AhiClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each token is another one than the one before, but they come again; or all are new, and the pages empty."""
    with served(made(AT_ONCE)) as url:
        calls = new_client(url).listing
        first = calls._client.search_image_sets
        full = first(datastoreId=DATASTORE_ID, searchCriteria=TimeRange().criteria())
        asked = count(1)

        def search(**_: Any) -> Any:
            if way == "in a circle":
                return {**full, "nextToken": f"token {next(asked) % 3}"}
            number = next(asked)
            return {**full, "imageSetsMetadataSummaries": [], "nextToken": f"token {number}"} if number > 1 else full

        monkeypatch.setattr(calls._client, "search_image_sets", search)
        calls._caller = RetryingCaller(1)
        with pytest.raises(UpstreamFailed, match="circle"):
            Listing(calls, DATASTORE_ID, Found().take, threads=1).run()


def test_image_sets_of_nearly_the_same_time_may_come_in_any_order(
    new_client: Callable[[str], AhiClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a range ends, the page may have image sets of the next range before those of this one."""
    found = Found()
    with served(made(EVENLY)) as url:
        calls = new_client(url).listing
        usual = calls._client.search_image_sets

        def shuffled(**asked: Any) -> Any:
            answer = usual(**asked)
            random.Random(3).shuffle(answer["imageSetsMetadataSummaries"])  # noqa: S311 - a test's
            return answer

        monkeypatch.setattr(calls._client, "search_image_sets", shuffled)
        Listing(calls, DATASTORE_ID, found.take, threads=8).run()
    assert set(found.ids) == {identifier(number) for number in range(1, MANY + 1)}


def test_image_sets_that_come_and_go_hide_no_other(new_client: Callable[[str], AhiClient]) -> None:
    shelf, found, ours = made(EVENLY), Found(), set[str]()
    all_versions = shelf._versions
    with served(shelf) as url:

        def take(image_sets: Sequence[ListedImageSet]) -> None:
            found.take(image_sets)
            gone = {each.image_set_id for each in image_sets[::3]}
            ours.update(gone)
            new = image_set(MANY + len(found.ids), created_at=1.7e9 + MANY / 2, updated_at=1.7e9)
            shelf._versions = (*(each for each in shelf._versions if each.image_set_id not in gone), new)

        Listing(new_client(url).listing, DATASTORE_ID, take, threads=4).run()
    assert {each.image_set_id for each in all_versions} <= set(found.ids)
    assert ours


def test_a_refusal_ends_the_listing(new_client: Callable[[str], AhiClient], faults: Faults) -> None:
    with served(made(EVENLY), faults) as url:
        client = new_client(url)
        faults.replace(parse_faults("SearchImageSets:403:0.3"))
        with pytest.raises(UpstreamFailed):
            Listing(client.listing, DATASTORE_ID, Found().take).run()


def test_a_listing_can_be_stopped(new_client: Callable[[str], AhiClient], faults: Faults) -> None:
    stop, found = threading.Event(), Found()

    def take(image_sets: Sequence[ListedImageSet]) -> None:
        found.take(image_sets)
        if len(found.ids) > 200:
            stop.set()

    with served(made(EVENLY), faults) as url, pytest.raises(ListingStopped):
        Listing(new_client(url).listing, DATASTORE_ID, take, threads=2, stop=stop).run()
    assert len(found.ids) < MANY

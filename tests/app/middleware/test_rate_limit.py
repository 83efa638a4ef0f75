"""A client may ask so often and no more; the bound is one for all processes, and holds for who guesses, too."""

import os
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from ahi.workers.pool import FetcherPool
from app.auth.bearer import new_token
from app.factory import create_app
from app.middleware.rate_limiter import RateLimiter
from app.services import Services
from app.settings import Settings
from db.engine import Database
from tests.app.auth.users import ANNA, login, write_users
from tests.servers import OpenDatabase


@settings(max_examples=40, deadline=None)
@given(gaps=st.lists(st.floats(0, 3), max_size=60))
def test_no_window_has_more_than_its_rate_and_a_burst(gaps: list[float]) -> None:
    per_second, burst = 2.0, 5
    rate, now, admitted = RateLimiter(per_second, burst), 1000.0, list[float]()
    for gap in gaps:
        now += gap
        wait = rate.take("one", now=now)
        if not wait:
            admitted.append(now)
        else:
            assert rate.take("one", now=now + wait - 1e-6) > 0
    for first, begin in enumerate(admitted):
        for last, end in enumerate(admitted[first:], first):
            assert last - first + 1 <= burst + (end - begin) * per_second + 1e-6


def test_a_client_that_keeps_to_the_rate_never_waits() -> None:
    rate = RateLimiter(10, 1)
    assert [rate.take("one", now=1000 + number / 10 + 1e-9 * number) for number in range(100)] == [0.0] * 100


def test_clients_have_buckets_of_their_own() -> None:
    rate = RateLimiter(0.01, 1)
    assert [rate.take(f"client {number}", now=1.0) for number in range(10)].count(0.0) >= 9  # two may meet
    assert rate.take("client 0", now=1.0) > 90


def test_all_processes_count_together() -> None:
    rate = RateLimiter(0.01, 10)
    for _ in range(2):
        pid = os.fork()
        if not pid:
            for _ in range(5):
                rate.take("one")
            os._exit(0)
        os.waitpid(pid, 0)
    assert rate.take("one") > 0


def application(settings: Settings, database: Database, limiter: RateLimiter) -> Flask:
    return create_app(Services.of(settings, database, FetcherPool([]), rate_limiter=limiter))


@pytest.fixture
def app(tmp_path: Path, open_database: OpenDatabase) -> Flask:
    chosen: dict[str, Any] = {"auth": ("basic",), "auth_users_file": write_users(tmp_path)}
    database = open_database(f"sqlite:///{tmp_path}/index")
    return application(Settings(cache_root=tmp_path, **chosen), database, RateLimiter(0.1, 3))


def statuses(app: Flask, number: int, **request: Any) -> list[int]:
    return [app.test_client().get("/aetitle/", **request).status_code for _ in range(number)]


def test_who_asks_too_often_is_told_when_to_come_back(app: Flask) -> None:
    assert statuses(app, 5, headers=ANNA) == [200, 200, 200, 429, 429]
    refused = app.test_client().get("/aetitle/studies", headers=ANNA)
    assert 0 < int(refused.headers["Retry-After"]) <= 10
    assert refused.content_type == "application/problem+json"


def test_a_known_client_is_known_by_its_name(app: Flask) -> None:
    assert statuses(app, 3, headers=ANNA) == [200] * 3
    assert statuses(app, 1, headers=ANNA, environ_base={"REMOTE_ADDR": "192.0.2.9"}) == [429]


@pytest.mark.parametrize("name", ["anonymous", "link", "anna"])
def test_the_same_name_by_another_way_is_another_client(tmp_path: Path, open_database: OpenDatabase, name: str) -> None:
    """A user whose name is what the service calls strangers is known all the same."""
    token, line = new_token(name)
    (tmp_path / "tokens").write_text(line)
    files: dict[str, Any] = {"auth_users_file": write_users(tmp_path, name), "auth_tokens_file": tmp_path / "tokens"}
    database = open_database(f"sqlite:///{tmp_path}/index")
    both = Settings(cache_root=tmp_path, auth=("basic", "bearer"), **files)
    app = application(both, database, RateLimiter(0.1, 3))
    assert statuses(app, 4, headers=login(name)) == [200, 200, 200, 429]
    assert statuses(app, 4, headers={"Authorization": f"Bearer {token}"}) == [200, 200, 200, 429]


def test_who_guesses_is_not_asked_any_more(app: Flask) -> None:
    wrong = {"headers": {"Authorization": "Basic eDp5"}}
    assert statuses(app, 5, **wrong) == [401, 401, 401, 429, 429]
    assert statuses(app, 1, headers=ANNA) == [429]  # from the same address: the guesser may have guessed right
    assert statuses(app, 1, headers=ANNA, environ_base={"REMOTE_ADDR": "192.0.2.9"}) == [200]


def test_liveness_is_never_refused(app: Flask) -> None:
    assert [app.test_client().get("/aetitle/live").status_code for _ in range(9)] == [200] * 9


def test_without_a_login_the_address_is_the_client(tmp_path: Path, open_database: OpenDatabase) -> None:
    database = open_database(f"sqlite:///{tmp_path}/index")
    app = application(Settings(cache_root=tmp_path), database, RateLimiter(0.1, 2))
    assert statuses(app, 3) == [200, 200, 429]
    assert statuses(app, 1, environ_base={"REMOTE_ADDR": "192.0.2.9"}) == [200]

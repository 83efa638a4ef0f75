"""A console over the sample index, without image sets."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from ahi.workers.pool import FetcherPool
from app.factory import create_app
from app.services import Services
from app.settings import Settings
from db.engine import Database
from tests.qido.archive import SAMPLE, write
from tests.servers import Sqlite

Clients = Callable[..., FlaskClient]


@pytest.fixture(scope="module")
def index(sqlite: Sqlite) -> Iterator[Database]:
    url = sqlite.new_index()
    write(url, SAMPLE)
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def client_of(index: Database, tmp_path: Path) -> Clients:
    """Makes clients of a console with these settings."""

    def make(**settings: Any) -> FlaskClient:
        return create_app(Services.of(Settings(cache_root=tmp_path, **settings), index, FetcherPool([]))).test_client()

    return make

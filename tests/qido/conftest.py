"""The sample archive behind a searching service, once for each kind of database and of tables."""

from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient

from db.engine import Database
from tests.qido.archive import SAMPLE, client, write


@pytest.fixture(scope="session")
def sample(new_tables: Callable[[], str]) -> Iterator[Database]:
    url = new_tables()
    write(url, SAMPLE)
    database = Database(url)
    yield database
    database.close()


@pytest.fixture(scope="session")
def archive(sample: Database) -> FlaskClient:
    return client(sample)

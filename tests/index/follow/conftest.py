"""Databases without tables, and queues of a server of moto."""

from collections.abc import Iterator

import pytest

from tests.aws_server import AwsServer
from tests.index.follow.live import Sqs
from tests.servers import MariaDb, PostgreSql


@pytest.fixture(params=["mariadb", "postgresql"])
def empty_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database without tables."""
    server: MariaDb | PostgreSql = request.getfixturevalue(request.param)
    return server.new_database()


@pytest.fixture(scope="module")
def sqs() -> Iterator[Sqs]:
    server = AwsServer()
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL_SQS", endpoint)
        patched.setenv("AWS_ACCESS_KEY_ID", "test")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "test")
        yield Sqs(endpoint)
    server.stop()

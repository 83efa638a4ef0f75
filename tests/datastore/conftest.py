"""What the tests of the wire protocol share: a real boto3 client."""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

CREDENTIALS: dict[str, Any] = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


@pytest.fixture
def new_client() -> Iterator[Callable[..., Any]]:
    """Makes AHI clients of a URL, which neither retry nor wait long; more of botocore's settings can be given."""
    clients: list[Any] = []

    def new(url: str, **settings: Any) -> Any:
        config = Config(inject_host_prefix=False, retries={"total_max_attempts": 1}, read_timeout=5)
        made = boto3.session.Session(region_name="us-east-1", **CREDENTIALS).client(
            "medical-imaging", endpoint_url=url, config=config.merge(Config(**settings))
        )
        clients.append(made)
        return made

    yield new
    for client in clients:
        client.close()

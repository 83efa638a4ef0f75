"""An index in MariaDB whose credentials are in AWS Secrets Manager, as an operator has it."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from sqlalchemy.engine import make_url

from datastore.index.filler import IndexFiller
from datastore.storage.storage import Storage
from tests.aws_server import AwsServer
from tests.servers import MariaDb


@contextmanager
def index_in_a_secret(mariadb: MariaDb, datastore_root: Path) -> Iterator[tuple[str, str]]:
    """The ARN of a secret that opens an index of the samples, and the endpoint that has it."""
    writable, readable = mariadb.new_reader()
    index = IndexFiller(writable)
    storage = Storage.open(datastore_root / "store")
    for version in storage.image_sets():
        blob = gzip.decompress(storage.metadata(version.image_set_id))
        index.put(storage.datastore.datastore_id, json.loads(blob))
    index.close()
    url = make_url(readable)
    secret = {"host": url.host, "port": url.port, "username": url.username, "password": url.password}
    server = AwsServer()
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    manager = boto3.client(
        "secretsmanager",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="AKIA",
        aws_secret_access_key="secret",  # noqa: S106 - of a server that asks for none
    )
    arn = manager.create_secret(Name="index", SecretString=json.dumps({**secret, "dbname": url.database}))["ARN"]
    yield arn, endpoint
    server.stop()

"""What a client may order to be loaded."""

import json

import pytest

from app.prefetch.routes import MOST_TASKS, parse_tasks
from app.prefetch.tasks import PrefetchTask
from dicomweb.errors import BadRequest
from dicomweb.transfer_syntax import FrameEncoding


def test_studies_and_series_are_orders_each_once() -> None:
    body = {"studies": ["1.2", "1.2"], "series": [{"study": "1.3", "series": "1.3.1"}], "form": "native"}
    assert parse_tasks(json.dumps(body).encode()) == [
        PrefetchTask("1.2", None, FrameEncoding.NATIVE),
        PrefetchTask("1.3", "1.3.1", FrameEncoding.NATIVE),
    ]
    assert parse_tasks(b'{"studies": ["1.2"]}') == [PrefetchTask("1.2", None, FrameEncoding.STORED)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b"null",
        b'{"studies": "1.2"}',
        b'{"studies": [12]}',
        b'{"studies": [["1.2"]]}',
        b'{"studies": ["1.2/3"]}',
        b'{"series": ["1.2"]}',
        b'{"series": [{"study": "1.2"}]}',
        b'{"studies": ["1.2"], "form": "jpeg"}',
        b"[" * 100_000,
        json.dumps({"studies": [f"1.{number}" for number in range(MOST_TASKS + 1)]}).encode(),
    ],
)
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_tasks(body)

"""`/prefetch`: what is to be in the cache before anybody asks for it. Not of the standard."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Response, request

from ahi.workers.jobs import FrameEncoding
from app.prefetch.worker import PrefetchStatus, PrefetchTask, send_tasks
from dicomweb.errors import BadRequest
from dicomweb.uids import absent, parse_uid

MOST_ORDERS = 1000
MOST_BYTES = 256 * 2**10

_SHAPE = 'write {"studies": [UID, ...], "series": [{"study": UID, "series": UID}, ...], "form": "stored" or "native"}'


def blueprint(warmer_path: str, shown: Callable[[str, str | None], bool]) -> Blueprint:
    """The resource; the warmer listens at the path. `shown` tells whether a client may see a study, or one series."""
    bp = Blueprint("prefetch", __name__)

    @bp.post("/prefetch")
    def prefetch() -> Response:
        if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            raise BadRequest("send application/json")
        if (request.content_length or 0) > MOST_BYTES:
            raise BadRequest(f"send at most {MOST_BYTES} bytes")
        orders = parse_tasks(request.get_data())
        for study, series in ((one.study_instance_uid, one.series_instance_uid) for one in orders):
            if not shown(study, series):
                raise absent("some of these studies and series are not there", study, series)
        return _response(send_tasks(warmer_path, orders), 202, accepted=len(orders))

    @bp.get("/prefetch")
    def status() -> Response:
        return _response(send_tasks(warmer_path, []), 200)

    return bp


def parse_tasks(body: bytes) -> list[PrefetchTask]:
    """What a body asks for, each once; BadRequest where it does not say that."""
    try:
        document = json.loads(body)
        orders = list(dict.fromkeys(_orders(document)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadRequest(_SHAPE) from None
    if not 0 < len(orders) <= MOST_ORDERS:
        raise BadRequest(f"name 1 to {MOST_ORDERS} studies and series")
    return orders


def _orders(document: Any) -> Iterator[PrefetchTask]:
    form = FrameEncoding(document.get("form", "stored"))
    for study in _list(document.get("studies", [])):
        yield PrefetchTask(parse_uid(study, "the study"), None, form)
    for one in _list(document.get("series", [])):
        yield PrefetchTask(parse_uid(one["study"], "the study"), parse_uid(one["series"], "the series"), form)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _response(status: PrefetchStatus, code: int, **more: int) -> Response:
    body = {**more, "waiting": status.waiting, "done": status.done, "failed": status.failed, "frames": status.frames}
    return Response(json.dumps(body), status=code, content_type="application/json")

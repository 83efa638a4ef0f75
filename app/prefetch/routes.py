"""`/prefetch`: clients name studies to load into the cache. It is not part of the standard."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from flask import Blueprint, Response, request

from app.prefetch.tasks import PrefetchStatus, PrefetchTask, send_tasks
from dicomweb.errors import BadRequest
from dicomweb.transfer_syntax import FrameEncoding
from dicomweb.uids import absent, parse_uid

MOST_TASKS = 1000
MOST_BYTES = 256 * 2**10

_SHAPE = 'write {"studies": [UID, ...], "series": [{"study": UID, "series": UID}, ...], "form": "stored" or "native"}'


def blueprint(prefetch_socket: str, may_see: Callable[[str, str | None], bool]) -> Blueprint:
    """The resource. The prefetch process listens at `prefetch_socket`.

    `may_see` tells whether the client may see a study, or one series of it.
    """
    bp = Blueprint("prefetch", __name__)

    @bp.post("/prefetch")
    def prefetch() -> Response:
        if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            raise BadRequest("send application/json")
        if (request.content_length or 0) > MOST_BYTES:
            raise BadRequest(f"send at most {MOST_BYTES} bytes")
        tasks = parse_tasks(request.get_data())
        for task in tasks:
            study, series = task.study_instance_uid, task.series_instance_uid
            if not may_see(study, series):
                raise absent("some of these studies and series do not exist", study, series)
        return _response(send_tasks(prefetch_socket, tasks), 202, accepted=len(tasks))

    @bp.get("/prefetch")
    def status() -> Response:
        return _response(send_tasks(prefetch_socket, []), 200)

    return bp


def parse_tasks(body: bytes) -> list[PrefetchTask]:
    """Parse the tasks of a body, each once; BadRequest for a body of another form."""
    try:
        document = json.loads(body)
        tasks = list(dict.fromkeys(_tasks(document)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadRequest(_SHAPE) from None
    if not 0 < len(tasks) <= MOST_TASKS:
        raise BadRequest(f"name 1 to {MOST_TASKS} studies and series")
    return tasks


def _tasks(document: Any) -> Iterator[PrefetchTask]:
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

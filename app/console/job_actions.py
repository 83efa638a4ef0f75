"""What operators do with jobs: cancel, try again, remove. Each may be done twice. Runs in the web processes.

A web process that is killed leaves nothing half done: each action is one message, one move of a folder, or one
transaction.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from app.console.operator_reach import OperatorReach
from app.prefetch.tasks import TaskAction, change_tasks
from app.services import Services
from db.index_jobs import find_run, has_runs
from dicomweb.errors import BadRequest, Forbidden, NotFound, ProxyError, UpstreamBusy
from index.writing.runs import cancel_run
from index.writing.session import WriteSession
from index.writing.writer import try_again
from store.forward.waiting import Cancelled
from store.routes import StoreService
from store.spool.spool import Entry

_NAME = re.compile(r"[0-9A-Za-z/-]{1,100}", re.ASCII)
MOST_NAMES = 100
"""The most jobs of one request."""


@dataclass(frozen=True)
class Result:
    """What has become of some jobs: the key of a text, and the number of jobs; or an error of one of them."""

    key: str
    number: int = 1
    error: ProxyError | None = None


class JobActions:
    """The actions of one caller. Errors are those of the processes and tables that decide, NotFound, and Forbidden."""

    def __init__(self, services: Services, reach: OperatorReach) -> None:
        self._services = services
        self._reach = reach

    def run(self, action: str, names: Sequence[str]) -> list[Result]:
        """Do an action to each of these jobs; BadRequest if there is no such action, or none or too many jobs."""
        act = _ACTIONS.get(action)
        if act is None:
            raise BadRequest("there is no such action")
        if not 0 < len(names) <= MOST_NAMES or not all(map(_NAME.fullmatch, names)):
            raise BadRequest(f"name 1 to {MOST_NAMES} jobs")
        found: dict[str, int] = {}
        errors: list[Result] = []
        for name in dict.fromkeys(names):
            try:
                key = act(self, name)
            except NotFound:
                key = "jobs_gone"
            except ProxyError as error:
                errors.append(Result("jobs_not_done", 1, error))
                continue
            found[key] = found.get(key, 0) + 1
        return [*(Result(key, number) for key, number in found.items()), *errors]

    def cancel_waiting(self, name: str) -> str:
        """Have a store request that waits deleted."""
        store = self._store()
        self._check_entry(store.spool.entry(name))
        now = store.forwarder.cancel(name) is Cancelled.NOW
        return "jobs_cancelled" if now else "jobs_cancelled_after_attempt"

    def retry_refused(self, name: str) -> str:
        """Put a store request that was refused back into the queue."""
        store = self._store()
        entry = self._check_entry(store.spool.refused_entry(name))
        with _disk():
            store.spool.retry(entry)
        with suppress(NotFound):  # it is being stored already
            store.forwarder.notify(store.spool.entry(name))
        return "jobs_retried"

    def remove_refused(self, name: str) -> str:
        """Delete a store request that was refused, with its images."""
        store = self._store()
        entry = self._check_entry(store.spool.refused_entry(name))
        with _disk():
            store.spool.remove(entry)
        return "jobs_removed"

    def cancel_run(self, name: str) -> str:
        """Have a run of the index command end."""
        database = self._services.index
        datastore_ids = find_run(database, name) if has_runs(database) else None
        if datastore_ids is None:
            raise NotFound("there is no such run")
        self._check_datastores(datastore_ids)
        return "jobs_run_cancelled" if cancel_run(self._index(), name) else "jobs_gone"

    def retry_image_set(self, name: str) -> str:
        """Have the follower, or the next run, try an image set again that was put aside."""
        datastore_id, _, image_set_id = name.partition("/")
        self._check_datastores([datastore_id])
        session = self._index()
        try:
            return "jobs_image_set_retried" if try_again(session, datastore_id, image_set_id) else "jobs_gone"
        except ValueError:
            raise NotFound("there is no such image set") from None

    def cancel_load(self, name: str) -> str:
        """Cancel an order to load a study, or all of them if the name is `all`."""
        return self._change_loads(TaskAction.CANCEL, name, "jobs_cancelled")

    def retry_load(self, name: str) -> str:
        """Order a study again that could not be loaded, or all of them if the name is `all`."""
        return self._change_loads(TaskAction.RETRY, name, "jobs_retried")

    def _change_loads(self, action: TaskAction, name: str, key: str) -> str:
        if not self._services.prefetch_socket:
            raise NotFound("nothing is loaded in advance here")
        names = None if name == ALL else frozenset([name])
        return key if change_tasks(self._services.prefetch_socket, action, names) else "jobs_gone"

    def _store(self) -> StoreService:
        if self._services.store is None:
            raise NotFound("the service takes no store requests")
        return self._services.store

    def _check_entry(self, entry: Entry) -> Entry:
        """The entry; NotFound if the caller does not operate its AE title."""
        if not self._reach.has_ae_title(entry.manifest.sender.ae_title):
            raise NotFound("there is no such store request")
        return entry

    def _check_datastores(self, datastore_ids: Sequence[str]) -> None:
        if not self._reach.has_datastores(datastore_ids):
            raise Forbidden("you do not operate all of these data stores")

    def _index(self) -> WriteSession:
        """The login that writes to the index; Forbidden without one, UpstreamBusy if its secret cannot be read."""
        if self._services.index_writer is None:
            raise Forbidden("this service has no login that writes to the index")
        try:
            return self._services.index_writer.session
        except ValueError as error:
            raise UpstreamBusy("the login that writes to the index cannot be read at the moment") from error


ALL = "all"
"""The name that stands for all loads."""

_ACTIONS: Mapping[str, Callable[[JobActions, str], str]] = {
    "cancel-waiting": JobActions.cancel_waiting,
    "retry-refused": JobActions.retry_refused,
    "remove-refused": JobActions.remove_refused,
    "cancel-run": JobActions.cancel_run,
    "retry-image-set": JobActions.retry_image_set,
    "cancel-load": JobActions.cancel_load,
    "retry-load": JobActions.retry_load,
}
"""Each gives the key of the text for what it has done. They are the whole list: a form can name no other."""


@contextmanager
def _disk() -> Iterator[None]:
    """A context in which a disk that cannot be written is UpstreamBusy."""
    try:
        yield
    except OSError as error:
        raise UpstreamBusy(f"the disk of the spool cannot be written: {error.strerror}") from error

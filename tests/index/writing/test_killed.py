"""A writer that is killed at any statement leaves what the next one makes right."""

import os
import signal
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from db.index_schema import metadata
from index.writing.writer import IndexWriter
from tests.index.writing.made import Calls, Index, Version, expected, held, live, run
from tests.servers import engine_of

_MOST_STATEMENTS = 400


def _killed_at(statement: int, work: Callable[[], object]) -> bool:
    """Whether `work`, in a process of its own, was killed before it sent this statement, or this commit; from 1 on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other tests have left threads, which the child has not
        child = os.fork()
    if not child:
        sent = 0

        def count(*_: Any) -> None:
            nonlocal sent
            sent += 1
            if sent == statement:
                os.kill(os.getpid(), signal.SIGKILL)

        with suppress(BaseException):
            event.listen(Engine, "before_cursor_execute", count)
            event.listen(Engine, "commit", count)
            work()
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _version(image_set_id: str, number: int, **contents: Any) -> Version:
    usual = {"store": "1" * 32, "updated": number, "is_primary": image_set_id != "b", "patient_id": "P1", "issuer": "",
             "study_uid": "1", "series_uid": "1.1", "sop_uids": ("1", "2")}  # fmt: skip
    return Version(image_set_id=image_set_id * 32, number=number, **{**usual, **contents})


_CALLS: Calls = [
    _version("a", 1),
    _version("b", 1, sop_uids=("2", "3")),
    _version("a", 2, study_uid="2", patient_id="P2", issuer="HOSPITAL"),
    _version("b", 2, sop_uids=("1", "3")),
    ("1" * 32, "a" * 32),
]
"""An image set, another one of the same series, a move of both the study and the patient, a change, and a deletion."""


def test_a_writer_that_is_killed_at_any_statement_goes_on(new_database: Callable[[], str]) -> None:
    index = Index(new_database())

    def work() -> None:
        writer = IndexWriter(index.url)  # a connection of its own
        run(writer, _CALLS)
        writer.close()

    step = 1 if index.url.startswith("sqlite") else 5  # the statements are the same
    for statement in range(1, _MOST_STATEMENTS, step):
        index.fill([])
        was_killed = _killed_at(statement, work)
        run(index.writer, _CALLS)
        assert held(index.url) == expected(live(_CALLS)), f"killed at statement {statement}"
        if not was_killed:
            break
    assert 50 < statement < _MOST_STATEMENTS - step
    index.writer.close()


def test_a_creation_that_is_killed_anywhere_goes_on(new_database: Callable[[], str]) -> None:
    url = new_database()

    def work() -> None:
        IndexWriter(url).create_or_migrate()

    times = 0
    for statement in range(1, _MOST_STATEMENTS, 3):
        if not _killed_at(statement, work):
            break
        times += 1
    assert times > 3
    with engine_of(url) as engine, engine.connect() as connection:
        for table in metadata.sorted_tables:
            connection.execute(table.select())
    writer = IndexWriter(url)
    run(writer, _CALLS)
    assert held(url) == expected(live(_CALLS))
    writer.close()

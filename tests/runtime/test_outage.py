"""An outage is told once when it begins and once when it is over, by however many processes and threads."""

import fcntl
import logging
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from runtime.outage import Outage


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What outages said; threads of earlier tests may say something else."""
    return [record.getMessage() for record in caplog.records if record.name == "runtime.outage"]


def test_threads_tell_it_once(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("index")
    with caplog.at_level(logging.INFO), ThreadPoolExecutor(8) as threads:
        outage.is_over()
        list(threads.map(outage.begins, ["gone"] * 100))
        list(threads.map(lambda _: outage.is_over(), range(100)))
    gone, back = _told(caplog)
    assert gone == "index does not answer: gone"
    assert re.fullmatch(r"index answers again after=[0-9.]+s", back)


def test_processes_tell_it_once(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("AHI")
    child = os.fork()
    if not child:
        outage.begins("the child found it gone")
        os._exit(0)
    os.waitpid(child, 0)
    with caplog.at_level(logging.INFO):
        outage.begins("so did the parent")
        outage.is_over()
        outage.is_over()
    (back,) = _told(caplog)
    assert back.startswith("AHI answers again")


def test_its_length_is_known_while_it_lasts() -> None:
    outage = Outage("AHI")
    assert outage.seconds is None
    outage.begins("gone")
    assert outage.seconds is not None and 0 <= outage.seconds < 60
    outage.is_over()
    assert outage.seconds is None


def test_the_next_outage_is_told_again(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage("AHI")
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            outage.begins("gone")
            outage.is_over()
    assert len(_told(caplog)) == 4


def test_a_process_that_is_frozen_while_it_tells_stops_no_other() -> None:
    """It holds the lock of the kernel; the others go on, and tell it when that is free again."""
    outage, ready = Outage("index"), os.pipe()
    child = os.fork()
    if not child:
        fcntl.lockf(outage._descriptor, fcntl.LOCK_EX)
        os.write(ready[1], b"x")
        signal.pause()
    os.read(ready[0], 1)
    os.kill(child, signal.SIGSTOP)
    began = time.monotonic()
    outage.begins("gone")
    outage.is_over()
    assert time.monotonic() - began < 30
    assert not outage._since
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    outage.begins("gone")
    assert outage._since

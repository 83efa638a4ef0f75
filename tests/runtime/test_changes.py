"""What was read before a change is not current, in any process."""

import os
import time

from runtime.changes import Changes


def test_what_was_read_before_a_change_is_not_current_and_what_is_read_after_it_is() -> None:
    changes, before = Changes(), time.monotonic()
    assert changes.is_current("a", before)
    changes.note("a")
    assert not changes.is_current("a", before)
    assert changes.is_current("a", time.monotonic()) and changes.is_current("b", before)


def test_a_change_is_seen_by_the_other_processes() -> None:
    changes, before = Changes(), time.monotonic()
    pid = os.fork()
    if pid == 0:
        changes.note("a")
        os._exit(0)
    os.waitpid(pid, 0)
    assert not changes.is_current("a", before)

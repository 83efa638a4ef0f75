"""A shared text is read whole or not at all, whenever its writer is killed."""

import os
import signal
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.shared_text import SharedText


def test_there_is_nothing_before_the_first() -> None:
    assert SharedText(10).read() == b""


@given(texts=st.lists(st.binary(max_size=37), min_size=1, max_size=5))
def test_the_last_text_is_read(texts: list[bytes]) -> None:
    shared = SharedText(37)
    for text in texts:
        shared.write(text)
        assert shared.read() == text


def test_a_text_that_is_too_long_changes_nothing() -> None:
    shared = SharedText(3)
    shared.write(b"abc")
    with pytest.raises(ValueError, match="4 bytes"):
        shared.write(b"abcd")
    assert shared.read() == b"abc"


def test_no_torn_text_is_read_and_a_killed_writer_leaves_a_whole_one() -> None:
    size = 200_000
    shared = SharedText(size)
    shared.write(b"a" * size)
    child = os.fork()
    if not child:
        while True:
            for letter in b"bcd":
                shared.write(bytes((letter,)) * size)
    found: set[int] = set()
    until = time.monotonic() + 60
    while len(found) < 3 and time.monotonic() < until:
        text = shared.read()
        if text:  # it writes faster than is read here
            assert len(text) == size and len(set(text)) == 1
            found.add(text[0])
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    text = shared.read()
    assert len(found) > 1 and len(text) == size and len(set(text)) == 1

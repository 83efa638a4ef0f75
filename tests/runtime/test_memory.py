"""What threads have freed serves others: the C library keeps two pools of it, not one for each thread."""

import gc
import re
import subprocess
import sys
import weakref

import pytest

from runtime import memory
from runtime.memory import Trimmer

PROGRAM = """
import ctypes, sys, threading
from runtime.memory import share_free_memory
if sys.argv[1] == "shared":
    share_free_memory()
all_here = threading.Barrier(16)
def work():
    kept = [bytes(1000) for _ in range(100)]
    all_here.wait()
threads = [threading.Thread(target=work) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


def arenas(how: str) -> int:
    """How many the C library has after 16 threads have worked at the same time."""
    command = [sys.executable, "-c", PROGRAM, how]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return len(re.findall(r"<heap nr=", said))


def test_threads_share_what_is_free() -> None:
    if arenas("as it is") <= 2:
        pytest.skip("this C library has no more arenas anyway")
    assert arenas("shared") <= 2


LARGE = """
import sys
from runtime.memory import resident_bytes, share_free_memory
if sys.argv[1] == "shared":
    share_free_memory()
for _ in range(3):
    bytearray(2**23)  # from here on the C library would keep such blocks
large, pins = [], []
for _ in range(64):
    large.append(bytearray(b"x") * 2**20)
    pins.append(bytes(1000))
before = resident_bytes()
large.clear()
print(before - resident_bytes())
"""


def test_what_is_large_goes_back_to_the_kernel() -> None:
    command = [sys.executable, "-c", LARGE, "shared"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert int(said) > 60 * 2**20


class Node:
    """Something that can refer to itself."""

    itself: object = None


def test_a_process_that_has_grown_collects_cycles_whatever_the_thresholds_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_COLLECT_SECONDS", 0.0)
    trim = Trimmer()
    gc.disable()
    try:
        node = Node()
        node.itself = node
        gone = weakref.ref(node)
        del node
        trim()
        assert gone(), "it has not grown"
        monkeypatch.setattr(memory, "resident_bytes", lambda: 2**40)
        trim()
        assert gone() is None
    finally:
        gc.enable()

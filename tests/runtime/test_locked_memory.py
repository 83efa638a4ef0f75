"""Shared memory is alone to who has its lock, in any process, and costs no file descriptor."""

import os

from runtime.locked_memory import LockedMemory

_ADDED = 2000


def test_processes_take_turns() -> None:
    memory, other = LockedMemory(8), LockedMemory(8)
    children = []
    for _ in range(3):
        child = os.fork()
        if not child:
            for _ in range(_ADDED):
                with memory.locked():
                    number = int.from_bytes(memory.bytes[:], "big")
                    memory.bytes[:] = (number + 1).to_bytes(8, "big")
            os._exit(0)
        children.append(child)
    with other.locked():  # the lock of another memory holds up nobody
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert int.from_bytes(memory.bytes[:], "big") == 3 * _ADDED


def test_the_lock_of_a_process_that_dies_goes_with_it() -> None:
    memory = LockedMemory(8)
    child = os.fork()
    if not child:
        with memory.locked():
            os._exit(0)
    os.waitpid(child, 0)
    with memory.locked():
        assert memory.bytes[:] == bytes(8)


def test_it_costs_no_file_descriptor() -> None:
    kept = [LockedMemory(8)]
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone
    kept += [LockedMemory(8) for _ in range(50)]
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208 - names alone

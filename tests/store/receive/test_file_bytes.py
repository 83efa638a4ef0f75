"""Windows of a file: the right bytes, and each of them read once if they are read in order."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicomweb.dicom_json import DataSet
from store.receive import file_bytes
from store.receive.body import ReceivedBody
from store.receive.file_bytes import FileBytes
from store.receive.instances import Checks
from store.receive.request import Files
from store.spool.spool import Spool
from tests.store.dicom_files import BOUNDARY, file, multipart

CONTENT = bytes(range(256)) * 12


@settings(max_examples=200, deadline=None)
@given(
    window_bytes=st.integers(1, 4000),
    length_bytes=st.integers(0, len(CONTENT)),
    calls=st.lists(
        st.tuples(st.sampled_from(["read", "find", "sha256"]), st.integers(0, 3100), st.integers(0, 1500)), max_size=12
    ),
)
def test_any_calls_in_any_order_see_the_file(
    window_bytes: int, length_bytes: int, calls: list[tuple[str, int, int]]
) -> None:
    visible = CONTENT[:length_bytes]
    descriptor = os.memfd_create("content")
    os.write(descriptor, CONTENT)
    before, file_bytes._WINDOW_BYTES = file_bytes._WINDOW_BYTES, window_bytes
    try:
        content = FileBytes(descriptor, length_bytes)
        for name, start, count in calls:
            if name == "read":
                assert content.read(start, count) == visible[start : start + count]
            elif name == "find":
                text = CONTENT[count % 256 :][: count % 7 + 1]
                assert content.find(text, start) == visible.find(text, start)
            else:
                stop = min(start + count, length_bytes)
                assert content.sha256(start, stop) == hashlib.sha256(visible[start:stop]).hexdigest()
    finally:
        file_bytes._WINDOW_BYTES = before
        os.close(descriptor)


def test_a_file_that_is_shorter_than_it_was_is_an_error() -> None:
    descriptor = os.memfd_create("short")
    os.write(descriptor, b"x" * 10)
    with pytest.raises(OSError, match="shorter"):
        FileBytes(descriptor, 11).read(0, 11)
    os.close(descriptor)


class Everything:
    """A client that may store anything."""

    tags: tuple[int, ...] = ()

    def admits(self, _study_instance_uid: str, _data_set: DataSet) -> bool:
        return True


def test_a_short_body_is_read_from_the_disk_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is parsed, its files are examined, and their digests are made."""
    sent = multipart([file("1.2.3.100.1.1"), file("1.2.3.100.1.2", size=300)])
    read: list[int] = []
    real = os.preadv

    def preadv(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        read.append(real(descriptor, buffers, offset))
        return read[-1]

    monkeypatch.setattr(os, "preadv", preadv)
    with (tmp_path / "body").open("x+b", buffering=0) as opened:
        body = ReceivedBody(Spool(tmp_path), tmp_path / "body", opened, 10**6)
        body.length_bytes = os.write(opened.fileno(), sent)
        found = list(Checks("", Everything()).results(body, Files(BOUNDARY.encode()).files(body)))
    assert [one.sop_instance_uid for one in found] == ["1.2.3.100.1.1", "1.2.3.100.1.2"]
    assert sum(read) == len(sent)

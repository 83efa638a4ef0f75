"""Frames that are kept as pixels, and encoded when they are asked for."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datastore.pixels.codecs import LOSSLESS, NotEncodable, Pixels, encode_lossless
from datastore.pixels.kept import KeptFrame, LateEncoder

ROOT = Path(__file__).parents[3]
RAMP = np.arange(64 * 80, dtype="<u2").reshape(64, 80)


def noise(random: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> Pixels:
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def extremes(random: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> Pixels:
    limits = np.iinfo(dtype)
    return np.where(random.random(shape) < 0.5, limits.min, limits.max).astype(dtype)


def flat(random: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> Pixels:
    return np.full(shape, np.iinfo(dtype).max, dtype)


@pytest.mark.parametrize("storage_format", LOSSLESS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    sides=st.tuples(st.integers(64, 150), st.integers(64, 150)),
    colour=st.booleans(),
    transform=st.booleans(),
    sample=st.sampled_from(["u1", "i1", "<u2", ">u2", "<i2", ">i2"]),
    content=st.sampled_from([noise, extremes, flat]),
    seed=st.integers(0, 2**32),
)
def test_what_can_wait_can_be_encoded(
    storage_format: str,
    sides: tuple[int, int],
    colour: bool,
    transform: bool,
    sample: str,
    content: Callable[[np.random.Generator, tuple[int, ...], np.dtype], Pixels],
    seed: int,
) -> None:
    """Of any content: a frame that was stored, and could not be encoded then, would be lost."""
    dtype = np.dtype(sample)
    shape = (*sides, 3) if colour else sides
    pixels = content(np.random.default_rng(seed), shape, dtype.newbyteorder("=")).astype(dtype)
    frame = KeptFrame.from_bytes(KeptFrame(pixels, transform).to_bytes())
    assert frame.can_wait and frame.transform == transform
    np.testing.assert_array_equal(frame.pixels, pixels)
    lossless = LOSSLESS[storage_format]
    stored = encode_lossless(frame.pixels, lossless, transform=transform)  # which compares
    np.testing.assert_array_equal(lossless.decode(stored, 0), pixels)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((63, 512), np.uint16),
        np.zeros((512, 512), np.uint32),
        np.zeros((512, 512), np.float32),
        np.zeros((512, 512), bool),
        np.zeros((512, 512, 4), np.uint8),
        np.zeros((8192, 4096), np.uint16),
    ],
)
def test_other_frames_do_not_wait(pixels: Pixels) -> None:
    assert not KeptFrame(pixels, transform=False).can_wait


def test_a_frame_that_many_ask_for_is_encoded_once(tmp_path: Path) -> None:
    path, calls, encode = tmp_path / "frame", [], LOSSLESS["JPEG_2000_LOSSLESS"].encode

    def counted(pixels: Pixels, transform: bool) -> bytes:
        calls.append(transform)
        return encode(pixels, transform)

    lossless = replace(LOSSLESS["JPEG_2000_LOSSLESS"], encode=counted)
    path.write_bytes(KeptFrame(RAMP, transform=False).to_bytes())
    encoders = [LateEncoder(lossless, workers=2), LateEncoder(lossless, workers=2)]  # as of two processes
    ready = threading.Barrier(8)

    def ask(number: int) -> bytes:
        ready.wait(30)
        encoders[number % 2].encode(path)
        return path.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(ask, range(8)))
    assert calls == [False]
    assert answers == {encode(RAMP, False)}
    assert [found.name for found in tmp_path.iterdir()] == ["frame"]


def test_a_frame_that_cannot_be_encoded_stays_as_it_is(tmp_path: Path) -> None:
    def failing(pixels: Pixels, transform: bool) -> bytes:
        raise RuntimeError

    path, content = tmp_path / "frame", KeptFrame(RAMP, transform=False).to_bytes()
    path.write_bytes(content)
    with pytest.raises(NotEncodable):
        LateEncoder(replace(LOSSLESS["JPEG_2000_LOSSLESS"], encode=failing)).encode(path)
    assert path.read_bytes() == content


KILLED = """
import os, signal, sys
from pathlib import Path
from datastore.pixels.codecs import LOSSLESS
from datastore.pixels.kept import LateEncoder

name = sys.argv[1]
real = getattr(os, name)

def dying(*arguments):
    if sys.argv[2] == "after":
        real(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(os, name, dying)
LateEncoder(LOSSLESS["JPEG_2000_LOSSLESS"]).encode(Path(sys.argv[3]))
"""


@pytest.mark.parametrize(("call", "when"), [("fsync", "before"), ("fsync", "after"), ("rename", "after")])
def test_whoever_is_killed_leaves_a_whole_frame(tmp_path: Path, call: str, when: str) -> None:
    path, lossless = tmp_path / "frame", LOSSLESS["JPEG_2000_LOSSLESS"]
    content, encoded = KeptFrame(RAMP, transform=False).to_bytes(), lossless.encode(RAMP, False)
    path.write_bytes(content)
    command = [sys.executable, "-W", "ignore", "-c", KILLED, call, when, str(path)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert path.read_bytes() == (encoded if call == "rename" else content)
    LateEncoder(lossless).encode(path)
    assert path.read_bytes() == encoded
    assert [found.name for found in tmp_path.iterdir()] == ["frame"]

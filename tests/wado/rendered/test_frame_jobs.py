"""A frame becomes a picture."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any, cast

import numpy as np
import pytest
from pydicom.values import converters

from ahi.cache.cache import Cache
from ahi.client.calls import AhiClient
from ahi.codecs.pixel_format import PixelFormat
from ahi.image_sets.frame_reference import FrameReference
from ahi.image_sets.image_set import Frame, ImageSetKey
from ahi.image_sets.version_cache import VersionCache
from ahi.workers.context import NATIVE_CACHE_BYTES, WorkerContext
from ahi.workers.frame_jobs import cached_native_frame
from dicomweb.media_types import JPEG
from dicomweb.transfer_syntax import EXPLICIT_VR_LITTLE_ENDIAN, FrameEncoding
from tests.wado.rendering.made import head, made
from wado.rendered.frame_jobs import Picture, render
from wado.rendering.display_attributes import DisplayAttributes
from wado.rendering.draw import within_bits
from wado.rendering.parameters import Rendering, Window
from wado.rendering.sample_format import SampleFormat


@pytest.mark.parametrize(
    ("stored", "dtype", "values", "expected"),
    [
        (SampleFormat(12, 11, False), "<u2", [0, 4095, 4100, 5000], [0, 4095, 4095, 4095]),
        (SampleFormat(12, 11, True), "<i2", [-3000, -2048, 2047, 2100], [-2048, -2048, 2047, 2047]),
        (SampleFormat(16, 15, False), "<u2", [0, 65535], [0, 65535]),
    ],
)
def test_lower_resolutions_stay_within_the_bits_that_are_stored(
    stored: SampleFormat, dtype: str, values: list[int], expected: list[int]
) -> None:
    found = within_bits(np.array([values], dtype), stored)
    assert found is not None and found.dtype == dtype and found[0].tolist() == expected


@pytest.mark.parametrize(
    ("stored", "dtype", "values"),
    [
        pytest.param(SampleFormat(12, 15, False), "<u2", [0, 0xFFF0], id="stored high"),
        pytest.param(SampleFormat(12, 11, False), "<u2", [0, 0x1FFF], id="a bit above"),
        pytest.param(SampleFormat(12, 11, True), "<i2", [0, 0x7000], id="above signed ones"),
        pytest.param(SampleFormat(12, 11, True), "<i2", [-0x7000, 0], id="below signed ones"),
    ],
)
def test_other_bits_than_those_stored_need_the_full_resolution(
    stored: SampleFormat, dtype: str, values: list[int]
) -> None:
    assert within_bits(np.array([values], dtype), stored) is None


@pytest.mark.parametrize(
    ("attributes", "milliseconds"),
    [
        ({}, 100),
        ({"FrameTime": "33.3"}, 33.3),
        ({"CineRate": "25", "FrameTime": "1000"}, 40),
        ({"RecommendedDisplayFrameRate": "10", "CineRate": "25"}, 100),
        ({"FrameTime": "0.001"}, 20),
        ({"FrameTime": "99999999"}, 60_000),
        ({"CineRate": "0"}, 100),
    ],
)
def test_frames_of_an_animation_are_shown_for_the_time_the_image_states(
    attributes: dict[str, str], milliseconds: float
) -> None:
    assert DisplayAttributes(made(**attributes)).frame_milliseconds == milliseconds


def _stored(context: WorkerContext, frame_id: str, side: int) -> FrameReference:
    """A native frame of 8 bits that is in the cache."""
    pixels, key = PixelFormat(side, side, 1, 8, 0, "MONOCHROME2"), ImageSetKey("0" * 32, "1" * 32)
    reference = FrameReference(key, Frame(frame_id, None), EXPLICIT_VR_LITTLE_ENDIAN, pixels)
    context.cache.put(reference.cache_name(FrameEncoding.STORED), bytes(side * side))
    return reference


@pytest.mark.parametrize(
    ("side", "held"), [(512, True), (4096, True), (8192, False)], ids=["CT", "mammogram", "more than half of the room"]
)
def test_pixels_are_held_for_the_next_window_within_a_bound(tmp_path: Path, side: int, held: bool) -> None:
    context = WorkerContext(AhiClient(region="us-east-1"), Cache(tmp_path, 2**28), VersionCache(60))
    references = [
        _stored(context, f"{number:032}", side) for number in range(NATIVE_CACHE_BYTES // side**2 + 1 if held else 2)
    ]
    frames = [cached_native_frame(context, one) for one in references[:2]]
    assert (cached_native_frame(context, references[1]) is frames[1]) == held
    for one in references[1:]:
        cached_native_frame(context, one)
    assert context.native_frame_cache.get(references[0].frame.frame_id) is None
    assert (context.native_frame_cache.get(references[-1].frame.frame_id) is None) != held


@pytest.mark.parametrize(("window", "files"), [(None, [1, 1, 1]), (Window(100, 200), [0, 1, 1])], ids=["own", "client"])
def test_a_picture_with_a_window_of_the_client_becomes_a_file_when_it_is_asked_for_again(
    tmp_path: Path, window: Window | None, files: list[int]
) -> None:
    context = WorkerContext(AhiClient(region="us-east-1"), Cache(tmp_path, 2**28), VersionCache(60))
    picture = Picture((_stored(context, "1" * 32, 16),), (1,), head(made()), JPEG, Rendering(window))
    drawn, found = set(), []
    for _ in files:
        drawn.add(render(context, picture))
        found.append(len(list((context.cache.root / "rendered").rglob("*.*"))))
    assert found == files and len(drawn) == 1
    assert context.cache.read(picture.cache_name) in drawn


def test_threads_that_draw_frames_of_the_same_image_parse_its_functional_groups_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = WorkerContext(AhiClient(region="us-east-1"), Cache(tmp_path, 2**28), VersionCache(60))
    parsed, threads, convert = list[int](), Barrier(8), cast(Any, converters)["SQ"]

    def counted(value: bytes, *arguments: Any) -> Any:
        parsed.append(len(value))
        return convert(value, *arguments)

    def render_frame(number: int) -> bytes:
        threads.wait(10)
        return render(context, Picture((references[number],), (number + 1,), data_set, JPEG))

    monkeypatch.setitem(cast(Any, converters), "SQ", counted)
    groups = [made(NominalCardiacTriggerDelayTime=number) for number in range(2000)]
    data_set = head(made(PerFrameFunctionalGroupsSequence=groups))
    references = [_stored(context, f"{number:032}", 16) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(render_frame, range(8)))) == 1
    assert len(parsed) == 1

"""An object without a picture has a sign of its own at any size."""

import numpy as np
import pytest

from wado.rendering.icon import SIGNS, draw_icon


@pytest.mark.parametrize("sign", SIGNS)
def test_every_sign_differs_from_all_others(sign: str) -> None:
    own = draw_icon(sign, "SR", 64, 64).tobytes()
    assert own == draw_icon(sign, "SR", 64, 64).tobytes()
    assert all(own != draw_icon(other, "SR", 64, 64).tobytes() for other in SIGNS if other != sign)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (300, 100), (64, 500), (1024, 768)], ids=str)
def test_an_icon_has_the_size_that_is_asked_for(size: tuple[int, int]) -> None:
    assert draw_icon("document", "DOC", *size).size == size


@pytest.mark.parametrize("size", [(300, 100), (100, 300)], ids=str)
def test_a_sign_is_in_the_middle_and_whole(size: tuple[int, int]) -> None:
    array = np.asarray(draw_icon("document", "DOC", *size).convert("L")).astype(int)
    rows, columns = np.nonzero(array > array[0, 0] + 50)
    assert abs((columns.min() + columns.max()) / 2 - size[0] / 2) < 6
    assert rows.min() > 0 and rows.max() < size[1] - 1


def test_letters_tell_the_modality() -> None:
    pictures = {
        draw_icon("radiotherapy", letters, 64, 64).tobytes() for letters in ("RTPLAN", "RTSTRUCT", "", "RTDOSE")
    }
    assert len(pictures) == 4


@pytest.mark.parametrize("modality", ["<x>", "É" * 99, "\x00", "A" * 10_000])
def test_hostile_letters_are_harmless(modality: str) -> None:
    assert draw_icon("no such sign", modality, 32, 32).size == (32, 32)

"""The pictures of all samples, against a table that a person has looked at (PS3.18 Section 10.4.1.1.3)."""

import numpy as np
import pytest
from PIL import Image

from tests.service.archive import Sample
from tests.service.process import Service
from tests.service.renderings import Rendering, read_table, rendered

TABLE = read_table()
TOLERANCE = 1.5
"""Grey levels that decoders and versions of them may differ by."""

_NEAR = 32.0
"""Grey levels by which a thumbnail may differ on average: an automatic window follows from fewer pixels."""

_ALIKE = 0.95
"""How a thumbnail and its picture correlate at least, made as small as 8 x 8, unless they are almost flat."""

_FLAT = 3.0


def test_what_can_be_rendered_is_in_the_table(service: Service, samples: dict[str, Sample]) -> None:
    assert {name for name, sample in samples.items() if rendered(service, sample)} == set(TABLE)


@pytest.mark.parametrize("expected", TABLE.values(), ids=TABLE)
def test_a_sample_looks_as_it_did(service: Service, samples: dict[str, Sample], expected: Rendering) -> None:
    picture = rendered(service, samples[expected.name])
    assert picture is not None
    found = Rendering.of(expected.name, picture)
    assert (found.mode, found.columns, found.rows) == (expected.mode, expected.columns, expected.rows)
    assert found.levels == pytest.approx(expected.levels, abs=TOLERANCE)


@pytest.mark.parametrize("name", TABLE)
def test_a_thumbnail_is_the_picture_made_small(service: Service, samples: dict[str, Sample], name: str) -> None:
    picture, thumbnail = (rendered(service, samples[name], resource) for resource in ("rendered", "thumbnail"))
    assert picture is not None
    assert thumbnail is not None
    size = min(8, picture.width), min(8, picture.height)
    one, other = (
        np.asarray(image.convert("L").resize(size, Image.Resampling.BOX), np.float64).ravel()
        for image in (picture, thumbnail)
    )
    assert abs(one - other).mean() < _NEAR
    assert min(one.std(), other.std()) < _FLAT or np.corrcoef(one, other)[0, 1] > _ALIKE

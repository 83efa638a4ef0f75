"""Objects without pixel data are rendered by jobs, and kept under names that tell them apart."""

from typing import cast

import pytest
from pydicom import uid

from ahi.cache.cache import Cache
from ahi.client.calls import AhiClient
from ahi.image_sets.version_cache import VersionCache
from ahi.workers.context import WorkerContext
from dicomweb.errors import NotAcceptable
from tests.wado.rendering.made import head, made
from wado.rendered.object_jobs import ObjectPicture, render_object


class _NoCache:
    def read(self, name: str) -> None:
        return None


def test_a_waveform_without_samples_cannot_be_rendered() -> None:
    empty = ObjectPicture(head(made(SOPClassUID=uid.TwelveLeadECGWaveformStorage)), "", "image/svg+xml")
    with pytest.raises(NotAcceptable, match="no samples"):
        render_object(WorkerContext(cast(AhiClient, None), cast(Cache, _NoCache()), VersionCache(1)), empty)


def test_equal_names_mean_equal_bytes() -> None:
    pictures = [
        ObjectPicture(*facts) for facts in ((b"a", "r", "t"), (b"b", "r", "t"), (b"a", "s", "t"), (b"a", "r", "u"))
    ]
    assert len({picture.cache_name for picture in pictures}) == 4

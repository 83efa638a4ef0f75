"""Each kind of object has its types and its sign, by its SOP class."""

import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.data import get_testdata_file

from ahi.image_sets.version_cache import VersionCache
from ahi.workers.context import WorkerContext
from dicomweb.errors import NotAcceptable
from tests.wado.rendering.made import head, made
from wado.rendered.objects import ObjectPicture, kind_of, render_object, thumbnail
from wado.rendering.icon import draw_icon


@pytest.mark.parametrize(
    ("sop_class_uid", "sign", "media_types"),
    [
        (uid.EnhancedSRStorage, "report", ("text/html", "text/plain")),
        (uid.XRayRadiationDoseSRStorage, "report", ("text/html", "text/plain")),
        (uid.KeyObjectSelectionDocumentStorage, "key objects", ("text/html", "text/plain")),
        (uid.EncapsulatedPDFStorage, "document", ("application/pdf",)),
        (uid.EncapsulatedCDAStorage, "document", ("text/xml",)),
        (uid.EncapsulatedSTLStorage, "model", ("model/stl",)),
        (uid.EncapsulatedOBJStorage, "model", ("model/obj",)),
        (uid.EncapsulatedMTLStorage, "model", ("model/mtl",)),
        (uid.TwelveLeadECGWaveformStorage, "waveform", ("image/svg+xml", "image/png", "image/jpeg")),
        (uid.HemodynamicWaveformStorage, "waveform", ("image/svg+xml", "image/png", "image/jpeg")),
        (uid.GrayscaleSoftcopyPresentationStateStorage, "presentation", ()),
        (uid.RTStructureSetStorage, "radiotherapy", ()),
        (uid.RTPlanStorage, "radiotherapy", ()),
        (uid.SurfaceSegmentationStorage, "object", ()),
        (uid.EncapsulatedPDFStorage + "0", "object", ()),
        ("", "object", ()),
    ],
)
def test_the_sop_class_tells_the_kind(sop_class_uid: str, sign: str, media_types: tuple[str, ...]) -> None:
    kind = kind_of(sop_class_uid)
    assert (kind.sign, kind.media_types) == (sign, media_types)


def test_a_thumbnail_is_the_icon_of_the_kind() -> None:
    plan = head(made(SOPClassUID=uid.RTPlanStorage, Modality="RTPLAN"))
    assert thumbnail(plan, 90, 60).tobytes() == draw_icon("radiotherapy", "RTPLAN", 90, 60).tobytes()


def test_the_thumbnail_of_an_ecg_is_its_drawing_and_of_an_empty_one_the_icon() -> None:
    ecg = dcmread(get_testdata_file("waveform_ecg.dcm"))
    assert np.median(np.asarray(thumbnail(head(ecg), 128, 128))) > 200
    del ecg.WaveformSequence
    assert thumbnail(head(ecg), 64, 64).tobytes() == draw_icon("waveform", "ECG", 64, 64).tobytes()


class _NoCache:
    def read(self, name: str) -> None:
        return None


def test_a_waveform_without_samples_cannot_be_rendered() -> None:
    empty = ObjectPicture(head(made(SOPClassUID=uid.TwelveLeadECGWaveformStorage)), "", "image/svg+xml")
    with pytest.raises(NotAcceptable, match="no samples"):
        render_object(WorkerContext(None, _NoCache(), VersionCache(1)), empty)


def test_equal_names_mean_equal_bytes() -> None:
    pictures = [
        ObjectPicture(*facts) for facts in ((b"a", "r", "t"), (b"b", "r", "t"), (b"a", "s", "t"), (b"a", "r", "u"))
    ]
    assert len({picture.cache_name for picture in pictures}) == 4

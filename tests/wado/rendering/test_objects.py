"""Each kind of object has its types and its sign, by its SOP class."""

import numpy as np
import pytest
from pydicom import uid

from tests.pydicom_files import pydicom_file
from tests.wado.rendering.made import made, through
from wado.rendering.icon import draw_icon
from wado.rendering.objects import draw_thumbnail, kind_of


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
    plan = through(made(SOPClassUID=uid.RTPlanStorage, Modality="RTPLAN"))
    assert draw_thumbnail(plan, 90, 60).tobytes() == draw_icon("radiotherapy", "RTPLAN", 90, 60).tobytes()


def test_the_thumbnail_of_an_ecg_is_its_drawing_and_of_an_empty_one_the_icon() -> None:
    ecg = pydicom_file("waveform_ecg.dcm")
    assert np.median(np.asarray(draw_thumbnail(through(ecg), 128, 128))) > 200
    del ecg.WaveformSequence
    assert draw_thumbnail(through(ecg), 64, 64).tobytes() == draw_icon("waveform", "ECG", 64, 64).tobytes()

"""Waveforms are read in their units and drawn true to scale (PS3.3 Section C.10.9)."""

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from pydicom import Dataset

from tests.pydicom_files import pydicom_file
from tests.wado.rendering.made import code, made, through
from wado.rendering.ecg_layout import MAX_SECONDS, lay_out
from wado.rendering.vector_drawing import draw_raster, encode_svg
from wado.rendering.waveform import MAX_CHANNELS, MAX_GROUPS, MAX_STATEMENTS, parse_statements, parse_waveforms


def channel(label: str = "Lead V1", unit: str = "uV", **attributes: object) -> Dataset:
    return made(
        ChannelSourceSequence=[code(label)],
        ChannelSensitivityUnitsSequence=[code("unit", unit, "UCUM")],
        **{"ChannelSensitivity": "2", **attributes},
    )


def multiplexed(samples: np.ndarray, channels: list[Dataset], kind: str = "SS", **attributes: object) -> Dataset:
    """A multiplex group; `samples` has shape (samples, channels)."""
    fields = {
        "MultiplexGroupLabel": "RHYTHM",
        "SamplingFrequency": "100",
        "NumberOfWaveformChannels": samples.shape[1],
        "NumberOfWaveformSamples": samples.shape[0],
        "WaveformSampleInterpretation": kind,
        "WaveformBitsAllocated": samples.itemsize * 8,
        "ChannelDefinitionSequence": channels,
        "WaveformData": samples.tobytes(),
    }
    group = made(**{**fields, **attributes})
    for element in group:
        if element.keyword in ("WaveformData", "WaveformPaddingValue"):
            element.VR = "OW"
    return group


def read(*groups: Dataset) -> tuple[Any, ...]:
    return parse_waveforms(through(made(WaveformSequence=list(groups))))


@pytest.mark.parametrize(
    ("kind", "dtype"), [("SB", "i1"), ("UB", "u1"), ("SS", "<i2"), ("US", "<u2"), ("SL", "<i4"), ("UL", "<u4")]
)
def test_interleaved_samples_of_every_size_are_taken_apart(kind: str, dtype: str) -> None:
    samples = np.array([[1, 100], [2, 101], [3, 102], [4, 103]], dtype)
    (group,) = read(multiplexed(samples, [channel(), channel("Lead II")], kind))
    assert [one.label for one in group.channels] == ["V1", "II"]
    assert group.channels[1].samples.tolist() == pytest.approx([0.2, 0.202, 0.204, 0.206])
    assert group.seconds == 0.04


@pytest.mark.parametrize(
    ("attributes", "unit", "expected"),
    [
        pytest.param({"unit": "uV"}, "mV", 0.02, id="microvolts"),
        pytest.param({"unit": "mV"}, "mV", 20, id="millivolts"),
        pytest.param({"unit": "V"}, "mV", 20_000, id="volts"),
        pytest.param({"unit": "mm[Hg]"}, "mm[Hg]", 20, id="a pressure"),
        pytest.param({"unit": "mV", "ChannelSensitivityCorrectionFactor": "0.5"}, "mV", 10, id="correction"),
        pytest.param({"unit": "mV", "ChannelBaseline": "-3"}, "mV", 17, id="baseline"),
    ],
)
def test_samples_are_in_the_units_of_their_sensitivity(attributes: dict[str, str], unit: str, expected: float) -> None:
    (group,) = read(multiplexed(np.array([[10]], "<i2"), [channel(**attributes)]))
    assert group.channels[0].unit == unit
    assert group.channels[0].samples.tolist() == pytest.approx([expected])


def test_padding_is_a_gap() -> None:
    samples = np.array([[1], [2], [-9], [4], [5]], "<i2")
    (group,) = read(multiplexed(samples, [channel()], WaveformPaddingValue=np.int16(-9).tobytes()))
    assert np.isnan(group.channels[0].samples).tolist() == [False, False, True, False, False]
    curves = [line for line in lay_out([group], electrocardiogram=True, title="").lines if line.colour == "#16181d"]
    assert [len(line.points) for line in curves] == [2, 2]


def test_an_ecg_is_drawn_at_25_mm_a_second_and_10_mm_a_millivolt() -> None:
    samples = np.zeros((201, 1), "<i2")
    samples[100] = 500  # 1 mV
    (group,) = read(multiplexed(samples, [channel()]))
    curve = lay_out([group], electrocardiogram=True, title="").lines[-1].points
    assert np.ptp(curve[:, 0]) == pytest.approx(50)
    assert np.ptp(curve[:, 1]) == pytest.approx(10)
    assert curve[100, 1] == curve[:, 1].min()  # up is positive


def test_other_signals_are_fitted_and_tell_their_range() -> None:
    (group,) = read(multiplexed(np.array([[10], [60]], "<i2"), [channel(unit="mm[Hg]")]))
    paper = lay_out([group], electrocardiogram=True, title="")
    assert "20 to 120 mm[Hg]" in [one.text for one in paper.words]
    assert np.ptp(paper.lines[-1].points[:, 1]) == pytest.approx(20)


def test_thinning_keeps_every_peak() -> None:
    samples = np.zeros((10_000, 1), "<i2")
    samples[4321], samples[7654] = 500, -500
    (group,) = read(multiplexed(samples, [channel()], SamplingFrequency="1000"))
    curve = lay_out([group], electrocardiogram=True, title="").lines[-1].points
    assert len(curve) < 5000
    assert np.ptp(curve[:, 1]) == pytest.approx(20)


def test_a_long_recording_is_cut_and_says_so() -> None:
    (group,) = read(multiplexed(np.zeros((9000, 1), "<i2"), [channel()]))
    paper = lay_out([group], electrocardiogram=True, title="")
    assert paper.width < MAX_SECONDS * 25 + 30
    assert any("the first 30 s of 90 s" in one.text for one in paper.words)


@pytest.mark.parametrize(
    ("annotation", "statement"),
    [
        pytest.param(made(UnformattedTextValue="SINUS\r\nRHYTHM"), "SINUS RHYTHM", id="free text"),
        pytest.param(
            made(
                ConceptNameCodeSequence=[code("PR Interval")],
                NumericValue="161",
                MeasurementUnitsCodeSequence=[code("millisecond", "ms", "UCUM")],
            ),
            "PR Interval: 161 ms",
            id="measurement",
        ),
        pytest.param(
            made(ConceptNameCodeSequence=[code("Rhythm")], ConceptCodeSequence=[code("Sinus")]),
            "Rhythm: Sinus",
            id="code",
        ),
        pytest.param(made(ConceptNameCodeSequence=[code("P onset")], ReferencedSamplePositions=9), None, id="a moment"),
    ],
)
def test_annotations_that_state_something_are_written_above(annotation: Dataset, statement: str | None) -> None:
    statements = parse_statements(through(made(WaveformAnnotationSequence=[annotation] * 99)))
    assert statements == (() if statement is None else (statement,) * MAX_STATEMENTS)
    paper = lay_out([], electrocardiogram=True, title="", statements=statements)
    assert len([one for one in paper.words if one.text == statement]) == len(statements)
    assert all(one.y < paper.height for one in paper.words)


HOSTILE = "</text><script>alert(1)</script>&"


def test_an_svg_is_well_formed_whatever_the_labels_are() -> None:
    group = multiplexed(np.zeros((9, 1), "<i2"), [channel(HOSTILE)], MultiplexGroupLabel=HOSTILE)
    svg = encode_svg(lay_out(read(group), electrocardiogram=True, title=HOSTILE))
    tree = ElementTree.fromstring(svg)  # noqa: S314 - our own
    assert {element.tag.rpartition("}")[2] for element in tree.iter()} == {"svg", "rect", "path", "text"}
    assert HOSTILE in [element.text for element in tree.iter()]


def test_the_sample_of_pydicom_has_twelve_leads_in_two_groups() -> None:
    groups = parse_waveforms(pydicom_file("waveform_ecg.dcm"))
    leads = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
    assert [[one.label for one in group.channels] for group in groups] == [leads, leads]
    paper = lay_out(groups, electrocardiogram=True, title="12-lead ECG")
    svg = encode_svg(paper).decode()
    assert len(re.findall("<path", svg)) == 4 + 24
    assert 'width="270mm"' in svg and len(svg) < 400_000


def test_a_raster_picture_fits_and_shows_ink_on_paper() -> None:
    paper = lay_out(parse_waveforms(pydicom_file("waveform_ecg.dcm")), electrocardiogram=True, title="")
    image = draw_raster(paper, 300, 300)
    array = np.asarray(image.convert("L"))
    assert max(image.size) == 300
    assert array.min() < 120 and np.median(array) > 200


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"NumberOfWaveformChannels": 0}, id="no channels"),
        pytest.param({"NumberOfWaveformChannels": 65_535}, id="more channels than bytes"),
        pytest.param({"NumberOfWaveformSamples": 0}, id="no samples"),
        pytest.param({"SamplingFrequency": "0"}, id="no frequency"),
        pytest.param({"SamplingFrequency": "-5"}, id="backwards"),
        pytest.param({"WaveformSampleInterpretation": "MB"}, id="companded"),
        pytest.param({"WaveformData": b""}, id="no data"),
    ],
)
def test_what_cannot_be_drawn_is_left_out(changes: dict[str, Any]) -> None:
    assert read(multiplexed(np.zeros((9, 1), "<i2"), [channel()], **changes)) == ()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"NumberOfWaveformSamples": 2**32 - 1}, id="a giant count"),
        pytest.param({"SamplingFrequency": "1e300"}, id="very fast"),
        pytest.param({"SamplingFrequency": "1e-300"}, id="very slow"),
        pytest.param({"ChannelDefinitionSequence": []}, id="no definitions"),
        pytest.param({"ChannelDefinitionSequence": [channel(ChannelSensitivity="1e308")]}, id="infinite values"),
    ],
)
def test_hostile_numbers_are_harmless(changes: dict[str, Any]) -> None:
    groups = read(multiplexed(np.arange(900, dtype="<i2")[:, None], [channel()], **changes))
    assert len(groups) == 1
    paper = lay_out(groups, electrocardiogram=True, title="")
    assert len(encode_svg(paper)) < 200_000
    assert draw_raster(paper, 100, 100).size


def test_no_more_channels_and_groups_than_can_be_read_are_drawn() -> None:
    many = read(*[multiplexed(np.zeros((9, 40), "<i2"), [])] * 20)
    assert len(many) <= MAX_GROUPS
    assert sum(len(group.channels) for group in many) == MAX_CHANNELS

"""Waveforms as groups of channels, with samples in units of their sensitivity (PS3.3 Section C.10.9)."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from wado.rendering.values import integer, item, items, meaning, number, quietly, text, value

MAX_GROUPS = 8
MAX_CHANNELS = 64  # of all groups
MAX_STATEMENTS = 36
_MAX_ANNOTATIONS = 1000  # looked at
_STATEMENT_LETTERS = 60
_DTYPES = {"SB": "i1", "UB": "u1", "SS": "<i2", "US": "<u2", "SL": "<i4", "UL": "<u4"}  # PS3.3 Section C.10.9.1.5
_MILLIVOLTS = {"uV": 1e-3, "mV": 1.0, "V": 1e3}

_BEYOND = 1e12  # larger samples are errors in any unit

Samples = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Channel:
    """One lead. `samples` are in `unit`, voltages in mV; NaN where there is padding."""

    label: str
    unit: str
    samples: Samples


@dataclass(frozen=True)
class Group:
    """Channels that were sampled together, `frequency` times a second."""

    label: str
    frequency: float
    channels: tuple[Channel, ...]

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return max((channel.samples.size for channel in self.channels), default=0) / self.frequency


def parse_waveforms(data_set: Dataset) -> tuple[Group, ...]:
    """The groups that can be drawn, at most MAX_GROUPS; none if samples are companded or missing."""
    with quietly():
        return tuple(_groups(data_set))


def parse_statements(data_set: Dataset) -> tuple[str, ...]:
    """The texts and measurements of its annotations (PS3.3 C.10.10), at most MAX_STATEMENTS."""
    with quietly():
        found = (_statement(one) for one in items(data_set, "WaveformAnnotationSequence", _MAX_ANNOTATIONS))
        return tuple(islice((words for words in found if words), MAX_STATEMENTS))


def _statement(one: Dataset) -> str:
    said = text(one, "UnformattedTextValue") or meaning(one, "ConceptCodeSequence")
    if not said and number(one, "NumericValue") is not None:
        unit = text(item(one, "MeasurementUnitsCodeSequence"), "CodeValue")
        said = f"{text(one, 'NumericValue')} {'' if unit == '1' else unit}"
    concept = meaning(one, "ConceptNameCodeSequence")
    return " ".join(f"{concept + ': ' if concept and said else ''}{said}".split())[:_STATEMENT_LETTERS]


def _groups(data_set: Dataset) -> Iterator[Group]:
    left = MAX_CHANNELS
    for one in items(data_set, "WaveformSequence", MAX_GROUPS):
        frequency, samples = number(one, "SamplingFrequency"), _samples(one)
        if not frequency or frequency <= 0 or samples.size == 0 or left <= 0:
            continue
        definitions = list(items(one, "ChannelDefinitionSequence", samples.shape[1]))
        definitions += [Dataset()] * (samples.shape[1] - len(definitions))
        channels = [_channel(definitions[index], samples[:, index], index) for index in range(samples.shape[1])]
        yield Group(text(one, "MultiplexGroupLabel"), frequency, tuple(channels[:left]))
        left -= len(channels)


def _samples(one: Dataset) -> Samples:
    """Shape (samples, channels): the channels are interleaved, padding is NaN (PS3.3 Section C.10.9.1.7)."""
    data, dtype = value(one, "WaveformData"), _DTYPES.get(text(one, "WaveformSampleInterpretation"))
    channels = integer(one, "NumberOfWaveformChannels")
    if not isinstance(data, bytes) or dtype is None or not 0 < channels <= len(data):
        return np.empty((0, 0))
    size_bytes = np.dtype(dtype).itemsize
    count = min(len(data) // size_bytes // channels, max(0, integer(one, "NumberOfWaveformSamples")))
    stored = np.frombuffer(data, dtype, count * channels).reshape(count, channels)[:, :MAX_CHANNELS]
    samples = stored.astype(np.float64)
    padding = value(one, "WaveformPaddingValue")
    if isinstance(padding, bytes) and len(padding) >= size_bytes:
        samples[stored == np.frombuffer(padding, dtype, 1)[0]] = np.nan
    return samples


def _channel(definition: Dataset, stored: Samples, index: int) -> Channel:
    """Sample x sensitivity x correction + baseline, in the units of the sensitivity (PS3.3 Section C.10.9.1.4)."""
    sensitivity, correction = (
        1.0 if (factor := number(definition, keyword)) is None else factor
        for keyword in ("ChannelSensitivity", "ChannelSensitivityCorrectionFactor")
    )
    with np.errstate(all="ignore"):
        samples = stored * sensitivity * correction + (number(definition, "ChannelBaseline") or 0.0)
        samples[~(np.abs(samples) < _BEYOND)] = np.nan
    unit = text(item(definition, "ChannelSensitivityUnitsSequence"), "CodeValue")[:16]
    if unit in _MILLIVOLTS:
        samples, unit = samples * _MILLIVOLTS[unit], "mV"
    label = text(definition, "ChannelLabel") or meaning(definition, "ChannelSourceSequence") or f"Channel {index + 1}"
    return Channel(label.removeprefix("Lead ").split(" (")[0].strip()[:32], unit, samples)

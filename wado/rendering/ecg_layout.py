"""Waveforms on graph paper: one strip for each lead, 25 mm per second, and 10 mm per millivolt for ECGs.

Channels of other waveforms, or without a voltage, are scaled to their strip, with their range written beside it.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from wado.rendering.vector_drawing import Line, Points, Text, VectorDrawing
from wado.rendering.waveform import Channel, Group, Samples

MAX_SECONDS = 30.0  # of a recording; the caption tells that later samples are left out
_MM_PER_SECOND = 25.0
_MM_PER_MILLIVOLT = 10.0
_COLUMNS_PER_MM = 8  # of more samples than these, only the lowest and highest are drawn
_LEFT, _MARGIN, _TITLE = 15.0, 5.0, 10.0
_STRIP_MM = (15.0, 60.0)  # the least and the greatest height of a strip
_FITTED_MM = 20.0
_LEAST_WIDTH = 120.0
_STATEMENT_MM, _ROW_MM = 85.0, 4.0
_GRID = ((1.0, "#f6d5d5", 0.1), (5.0, "#e8a5a5", 0.2))
_INK = "#16181d"


def lay_out(
    groups: Sequence[Group], *, electrocardiogram: bool, title: str, statements: Sequence[str] = ()
) -> VectorDrawing:
    """The drawing: title, statements in columns, then the groups below each other."""
    longest = max((min(group.seconds, MAX_SECONDS) for group in groups), default=0.0)
    width = max(_LEAST_WIDTH, float(np.ceil(_LEFT + longest * _MM_PER_SECOND + _MARGIN)))
    lines: list[Line] = []
    per_row = int((width - _MARGIN) // _STATEMENT_MM) or 1
    words = [Text(_MARGIN, 6.5, 4.0, title)]
    for index, statement in enumerate(statements):
        row, column = divmod(index, per_row)
        words.append(Text(_MARGIN + column * _STATEMENT_MM, _TITLE + 3.0 + row * _ROW_MM, 2.6, statement))
    y = _TITLE + -(-len(statements) // per_row) * _ROW_MM
    for group in groups:
        words.append(Text(_MARGIN, y + 4.0, 3.0, _caption(group, electrocardiogram)))
        y += 6.0
        for channel in group.channels:
            strip = _Strip(channel, group.frequency, electrocardiogram)
            lines += strip.lines(y)
            words += strip.words(y)
            y += strip.height
    height = float(np.ceil((y + _MARGIN) / 5.0) * 5.0)
    return VectorDrawing(width, height, (*_grid(width, height), *lines), tuple(words))


def _caption(group: Group, electrocardiogram: bool) -> str:
    gain = ", 10 mm/mV" if electrocardiogram and any(channel.unit == "mV" for channel in group.channels) else ""
    cut = f", the first {MAX_SECONDS:g} s of {group.seconds:.0f} s" if group.seconds > MAX_SECONDS else ""
    return f"{group.label[:64]}  25 mm/s{gain}, {group.frequency:g} Hz{cut}".strip()


def _grid(width: float, height: float) -> Iterator[Line]:
    """The grid, as one serpentine line for each direction and distance; its turns lie on the edge."""
    for step, colour, thick in _GRID:
        yield Line(_serpentine(width, height, step), colour, thick, ruled=True)
        yield Line(_serpentine(height, width, step)[:, ::-1], colour, thick, ruled=True)


def _serpentine(along: float, across: float, step: float) -> Points:
    at = np.arange(0, along + step / 2, step)
    ends = np.where(np.arange(at.size)[:, None] % 2 == 0, (0.0, across), (across, 0.0))
    return np.column_stack([at.repeat(2), ends.ravel()])


class _Strip:
    """The strip of one channel: its scale and its height in mm."""

    def __init__(self, channel: Channel, frequency: float, electrocardiogram: bool) -> None:
        self._channel = channel
        self._frequency = frequency
        self._samples = channel.samples[: int(MAX_SECONDS * frequency)]
        valid = self._samples[np.isfinite(self._samples)]
        self._lowest, self._highest = (float(valid.min()), float(valid.max())) if valid.size else (0.0, 0.0)
        self._fixed = electrocardiogram and channel.unit == "mV"
        span = self._highest - self._lowest
        self._scale = _MM_PER_MILLIVOLT if self._fixed else _FITTED_MM / span if span > 0 else 1.0
        self.height = float(np.clip(np.ceil(span * self._scale + 4.0), *_STRIP_MM))

    def lines(self, y: float) -> Iterator[Line]:
        """The curve, interrupted where samples are missing."""
        middle = (self._highest + self._lowest) / 2
        centre = y + self.height / 2
        for piece in _pieces(self._samples, self._frequency):
            offsets = np.clip((piece[:, 1] - middle) * self._scale, -self.height / 2, self.height / 2)
            yield Line(np.column_stack([_LEFT + piece[:, 0] * _MM_PER_SECOND, centre - offsets]), _INK, 0.25)

    def words(self, y: float) -> Iterator[Text]:
        """The label, and the range of values if the scale is that of the strip."""
        yield Text(_MARGIN / 2, y + self.height / 2, 3.5, self._channel.label)
        if not self._fixed:
            words = f"{self._lowest:.4g} to {self._highest:.4g} {self._channel.unit}"
            yield Text(_MARGIN / 2, y + self.height / 2 + 4.0, 2.2, words)


def _pieces(samples: Samples, frequency: float) -> Iterator[Points]:
    """Runs of valid samples as (seconds, value), thinned to what can be seen."""
    valid = np.isfinite(samples)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], valid, [False]]).astype(np.int8)))
    for start, stop in list(zip(edges[::2], edges[1::2], strict=True))[:1000]:
        yield _thinned(samples[start:stop], int(start), frequency)


def _thinned(run: Samples, start: int, frequency: float) -> Points:
    """The lowest and highest sample of each column of pixels, in order of time."""
    per_column = int(frequency / (_MM_PER_SECOND * _COLUMNS_PER_MM))
    if per_column <= 2 or run.size <= per_column * 2:
        return np.column_stack([(start + np.arange(run.size)) / frequency, run])
    whole = run.size // per_column * per_column
    columns = run[:whole].reshape(-1, per_column)
    ends = np.sort(np.column_stack([columns.argmin(axis=1), columns.argmax(axis=1)]), axis=1)
    at = (np.arange(0, whole, per_column)[:, None] + ends).ravel()
    at = np.append(at, run.size - 1)
    return np.column_stack([(start + at) / frequency, run[at]])

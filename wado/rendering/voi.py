"""VOI transformations: from modality values to levels (PS3.3 Section C.11.2)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from wado.rendering.lut import Lut
from wado.rendering.parameters import Window
from wado.rendering.values import each_number, value

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ramp:
    """A linear ramp: 0 up to the value `black`, 255 from the value `white` on; NaN becomes 0."""

    black: float
    white: float

    @classmethod
    def of_window(cls, window: Window) -> "Ramp":
        """The ramp of a linear window (PS3.3 Section C.11.2.1.2.1, C.11.2.1.3.2)."""
        if window.function == "LINEAR_EXACT":
            return cls(window.center - window.width / 2, window.center + window.width / 2)
        half = (window.width - 1) / 2
        return cls(window.center - 0.5 - half, window.center - 0.5 + half)

    def of(self, values: Values) -> Values:
        """The levels of modality values, 0 to 255."""
        if self.white <= self.black:
            return np.where(values > self.black, 255.0, 0.0)
        inside: Values = values.clip(self.black, self.white)
        if (nothing := np.isnan(inside)).any():
            inside[nothing] = self.black
        half = self.white / 2 - self.black / 2  # the full difference may exceed a double
        return (inside / 2 - self.black / 2) / half * 255


@dataclass(frozen=True)
class Sigmoid:
    """A sigmoid window (PS3.3 Section C.11.2.1.3.1)."""

    center: float
    width: float

    def of(self, values: Values) -> Values:
        """The levels of modality values, 0 to 255."""
        steepness = -4 * (np.nan_to_num(values) - self.center) / self.width
        levels: Values = 255 / (1 + np.exp(steepness.clip(-700, 700)))
        return levels


@dataclass(frozen=True)
class Table:
    """A VOI LUT."""

    lut: Lut

    def of(self, values: Values) -> Values:
        """The levels of modality values, 0 to 255."""
        return Ramp(0, 2**self.lut.bits - 1).of(self.lut.of(values).astype(np.float64))


Voi = Ramp | Sigmoid | Table


def of_window(window: Window) -> Voi:
    """The transformation of a window, by its function (PS3.3 Section C.11.2.1.3)."""
    return Sigmoid(window.center, window.width) if window.function == "SIGMOID" else Ramp.of_window(window)


def own_windows(data_set: Dataset) -> list[Window]:
    """The windows of the image, without those too narrow for their function (PS3.3 Section C.11.2.1.2)."""
    centers, widths = (each_number(data_set, name) for name in ("WindowCenter", "WindowWidth"))
    function = str(value(data_set, "VOILUTFunction") or "LINEAR")
    windows = [
        Window(center, width, function)
        for center, width in zip(centers, widths, strict=False)
        if center is not None and width is not None
    ]
    return [one for one in windows if (one.width > 0 if one.function == "LINEAR_EXACT" else one.width >= 1)]

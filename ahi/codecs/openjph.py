"""Decodes HTJ2K with OpenJPH, and raises the errors that imagecodecs loses. Runs in the FrameFetcher processes.

OpenJPH reports damage behind the main header by an exception that imagecodecs cannot pass on. Python then "ignores" it
(`sys.unraisablehook`), and the rest of the pixels is old memory. A damaged frame must not pass as an image.
"""

import sys
import threading
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

_lost = threading.local()


def decode_htj2k(stored: bytes, *, skipped: int = 0) -> npt.NDArray[Any]:
    """Decode a codestream to interleaved samples, without its `skipped` highest resolutions.

    RuntimeError where it is damaged.
    """
    _install_hook()
    _lost.error = None
    array = np.asarray(imagecodecs.htj2k_decode(stored, skipres=skipped, planar=False))
    if _lost.error is not None:
        raise RuntimeError("the codestream is damaged") from _lost.error
    return array


def _install_hook() -> None:
    """Note the exceptions of OpenJPH that cannot be passed on. Others go to the previous hook."""
    previous = sys.unraisablehook
    if previous is _Hook.installed:
        return

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if str(unraisable.object).startswith("imagecodecs._htj2k"):
            _lost.error = unraisable.exc_value
        else:
            previous(unraisable)

    _Hook.installed = sys.unraisablehook = hook


class _Hook:
    """The hook that was installed last."""

    installed: Any = None

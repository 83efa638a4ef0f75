"""HTJ2K decoded by OpenJPH, and the errors that get lost on the way: a damaged frame must not pass as an image.

OpenJPH reports damage that it finds behind the main header by an exception that imagecodecs cannot hand on. It is then
"ignored" (`sys.unraisablehook`) and the pixels that were not reached are whatever the memory held before.
"""

import sys
import threading
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt

_lost = threading.local()


def decode_htj2k(stored: bytes, *, skipped: int = 0) -> npt.NDArray[Any]:
    """The samples of a codestream, interleaved, without so many resolutions; RuntimeError where it is damaged."""
    _listen()
    _lost.error = None
    array = np.asarray(imagecodecs.htj2k_decode(stored, skipres=skipped, planar=False))
    if _lost.error is not None:
        raise RuntimeError("the codestream is damaged") from _lost.error
    return array


def _listen() -> None:
    """Hear of exceptions that cannot be handed on; those that are not ours go to who heard of them before."""
    before = sys.unraisablehook
    if before is _Hook.installed:
        return

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if str(unraisable.object).startswith("imagecodecs._htj2k"):
            _lost.error = unraisable.exc_value
        else:
            before(unraisable)

    _Hook.installed = sys.unraisablehook = hook


class _Hook:
    """What was installed last."""

    installed: Any = None

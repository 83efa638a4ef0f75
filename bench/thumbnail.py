"""The time that a thumbnail saves: a mammogram decoded at the lowest sufficient resolution, and in full.

python -m bench.thumbnail [--side 256] [--repeat 15]
"""

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np

from ahi.codecs.encoders import encode
from ahi.codecs.frames import decode
from ahi.codecs.pixel_format import PixelFormat
from ahi.codecs.resolutions import decode_reduced
from bench.table import markdown
from bench.workload import Size, mammograms
from dicomweb.transfer_syntax import HTJ2K_LOSSLESS_RPCL


def best_ms(work: Callable[[], object], repeat: int) -> float:
    """The shortest of so many runs, in milliseconds."""
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times) * 1000


def compare(shape: tuple[int, int], side: int, repeat: int) -> list[tuple[str, str, float]]:
    """Rows of what is decoded, its size in pixels, and the milliseconds."""
    samples = next(iter(mammograms(np.random.default_rng(3), shape)))
    pixels = PixelFormat(*shape, 1, 16, 0, "MONOCHROME2")
    stored = encode(samples.tobytes(), HTJ2K_LOSSLESS_RPCL, pixels)
    scale = side / max(shape)
    reduced = decode_reduced(stored, pixels, scale)
    if reduced is None:
        raise ValueError("the picture has no lower resolution that covers the thumbnail")
    smaller = reduced[1]
    whole = best_ms(lambda: decode(stored, HTJ2K_LOSSLESS_RPCL, pixels), repeat)
    low = best_ms(lambda: decode_reduced(stored, pixels, scale), repeat)
    return [("all of it", _size(pixels), whole), ("a low resolution", _size(smaller), low)]


def _size(pixels: PixelFormat) -> str:
    return f"{pixels.columns} x {pixels.rows}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--small", action="store_true", help="a small picture, in a moment")
    options = parser.parse_args(arguments)
    found = compare((Size.small() if options.small else Size()).mammogram, options.side, options.repeat)
    rows = [(*row, found[0][2] / row[2]) for row in found]
    print(markdown(("decoded", "pixels", "ms", "ratio"), rows))  # noqa: T201


if __name__ == "__main__":
    main()

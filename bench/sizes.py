"""The sizes of a deployment: the CPU time and the cache that viewers need who open series, cold and warm.

python -m bench.sizes [--slices 200] [--side 512] [--minutes 5]
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.opening import NATIVE, STORED
from bench.processes import cpu_seconds
from bench.stand import Archive, running_archive
from bench.table import markdown
from bench.viewer import open_series
from bench.workload import Size
from tests.service.process import Service

LOAD = 0.6
"""The share of a core that is planned for; ecs-cfn-template.yaml adds tasks above it."""

_FORMS = {"as stored": STORED, "decoded": NATIVE}
_TICK_SECONDS = 0.01  # the kernel counts CPU time in steps of this
_QUIET_SECONDS = 1.0  # until prefetches and the writing of the cache have ended


@dataclass(frozen=True)
class Opening:
    """A series that a viewer opens: CPU time of all processes of the service, and the files in its cache after it."""

    form: str
    state: str
    frames: int
    cpu_seconds: float
    cache_bytes: int

    def viewers(self, minutes: float) -> float:
        """The viewers of one core, of whom each opens such a series every so many minutes."""
        return LOAD * 60 * minutes / max(self.cpu_seconds, _TICK_SECONDS)


def measure(archive: Archive) -> Iterator[Opening]:
    """Open a series twice in each form, in a fresh service with one web process and one FrameFetcher."""
    for form, accept in _FORMS.items():
        with archive.service(WEB_PROCESSES="1", FRAME_FETCHERS="1") as service:
            other, series = archive.workload.ct
            open_series(service.root, f"{other.path}/metadata", other.frame_paths[:20], accept)
            time.sleep(_QUIET_SECONDS)
            before = _cache_bytes(service)
            for state in ("cold", "warm"):
                started = cpu_seconds(service.process.pid)
                opened = open_series(service.root, f"{series.path}/metadata", series.frame_paths, accept)
                time.sleep(_QUIET_SECONDS)
                if opened.bad:
                    raise RuntimeError(f"{opened.bad} answers were not 200")
                used = cpu_seconds(service.process.pid) - started
                yield Opening(form, state, len(series.frame_paths), used, _cache_bytes(service) - before)


def _cache_bytes(service: Service) -> int:
    return sum(path.stat().st_size for path in (service.log_path.parent / "cache").rglob("*") if path.is_file())


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--minutes", type=float, default=5, help="between two series of one viewer")
    options = parser.parse_args(arguments)
    size = Size(options.slices, options.side, Size.small().mammogram, Size.small().cine)
    with (
        tempfile.TemporaryDirectory(prefix="bench-sizes-") as folder,
        running_archive(Path(folder), size, long=False) as archive,
    ):
        found = list(measure(archive))
    head = ["frames", "opened", "slices", "CPU s", "viewers of a core", "MB in the cache", "series in 10 GB"]
    rows = [[one.form, one.state, one.frames, f"{one.cpu_seconds:.2f}", round(one.viewers(options.minutes)),
             one.cache_bytes / 1e6, round(1e10 / one.cache_bytes)] for one in found]  # fmt: skip
    print(markdown(head, rows))  # noqa: T201


if __name__ == "__main__":
    main()

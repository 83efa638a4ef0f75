"""The speed of the proxy beside the DICOMweb plugin of Orthanc and beside nginx with the same bytes, in one run.

bench/run [--lines frames,cold,...] [--seconds N] [--json FILE] [--alone] [--small]
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import opening
from bench.lines import RATES, LineResult, lines, ratios, run_line
from bench.opening import Figure, Growth
from bench.processes import memory
from bench.stand import Archive, running_archive, running_stand
from bench.table import markdown
from bench.workload import Size

TIMES: Mapping[str, Callable[[Archive], Iterator[Figure]]] = {
    "cold": opening.cold_lines,
    "crowd": opening.crowd_lines,
    "scroll": opening.scroll_lines,
}
GROUPS = (*RATES, "series", "memory", *TIMES, "growth")
_MEANING = {True: "met", False: "missed", None: "-"}


@dataclass
class Results:
    """The results of a run."""

    rates: list[LineResult] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    curve: list[Growth] = field(default_factory=list)

    def tables(self) -> Iterator[str]:
        """The tables of the results, in Markdown."""
        if self.rates:
            yield markdown(_RATE_HEADER, [_rate_row(one) for one in self.rates])
        if self.figures:
            yield markdown(("line", "found", "unit", "aim", ""), [_figure_row(one) for one in self.figures])
        if self.curve:
            header = ("slices", "first metadata, us a slice", "metadata, us a slice", "whole series, us a slice")
            rows = [
                (at.slices, 1000 * at.cold_metadata_ms, 1000 * at.warm_metadata_ms, 1000 * at.all_of_it_ms)
                for at in self.curve
            ]
            yield markdown(header, rows)


_RATE_HEADER = ("line", "connections", "server", "rate /s", "p50 ms", "p95 ms", "p99 ms", "CPU ms", "AHI calls", "bad")


def _rate_row(one: LineResult) -> tuple[object, ...]:
    rate = one.rate
    times = (f"{ms:,.2f}" for ms in (rate.median_ms, rate.p95_ms, rate.p99_ms, one.cpu_ms))
    return (one.line, one.connections, one.server, rate.per_second, *times, one.ahi_calls, rate.bad)


def _figure_row(one: Figure) -> tuple[object, ...]:
    aim = f"<= {one.at_most:g}" if one.at_most is not None else f">= {one.at_least:g}" if one.at_least else "-"
    return (one.line, f"{one.value:,.2f}", one.unit, aim, _MEANING[one.met])


def run(groups: Sequence[str], size: Size, seconds: int, results: Results, *, peer: bool) -> None:
    """Run all lines of these groups, one after the other; each result is added when it is there."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-run-") as folder,
        running_archive(Path(folder), size, long="growth" in groups) as archive,
    ):
        if {*RATES, "series", "memory"} & {*groups}:
            _side_by_side(archive, groups, seconds, results, peer=peer)
        for group, found in TIMES.items():
            if group in groups:
                _tell(group)
                results.figures += found(archive)
        if "growth" in groups:
            _tell("growth")
            results.curve += opening.growth(archive)
            results.figures += opening.growth_lines(results.curve)
            results.figures += opening.long_study_lines(archive)


def _side_by_side(archive: Archive, groups: Sequence[str], seconds: int, results: Results, *, peer: bool) -> None:
    """Run the lines that need all servers running side by side."""
    with running_stand(archive, peer=peer) as stand:
        idle = max(one.now_bytes for one in memory(stand.service.process.pid) if one.name.startswith("web"))
        for line in lines(archive.workload):
            if line.group in groups:
                _tell(line.name)
                measured = run_line(line, stand, seconds)
                results.rates += measured
                results.figures += [
                    Figure(f"{name}, times {server}", ratio, "x", at_least=aim or None)
                    for name, ratio, server, aim in ratios(measured, line.aims)
                ]
        if "series" in groups:
            _tell("series")
            results.figures += opening.series_lines(stand)
        if "memory" in groups:
            results.figures += opening.memory_lines(stand, idle)


def _tell(text: str) -> None:
    print("..", text, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the lines and print tables."""
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("--lines", default=",".join(GROUPS), help=f"of {','.join(GROUPS)}")
    parser.add_argument("--seconds", type=int, default=5, help="how long each rate is measured")
    parser.add_argument("--json", type=Path, help="write the results there as well")
    parser.add_argument("--alone", action="store_true", help="without Orthanc")
    parser.add_argument("--small", action="store_true", help="a workload of a few small images, to try the command")
    options = parser.parse_args(arguments)
    groups = options.lines.split(",")
    if unknown := {*groups} - {*GROUPS}:
        parser.error(f"no such lines: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    load = f"load average {os.getloadavg()[0]:.1f} before"
    size = Size.small() if options.small else Size()
    results = Results()
    with suppress(KeyboardInterrupt):  # print the results until then
        run(groups, size, options.seconds, results, peer=not options.alone)
    print(f"\n{len(os.sched_getaffinity(0))} cores, {load} and {os.getloadavg()[0]:.1f} after\n")
    print("\n\n".join(results.tables()))
    if options.json:
        options.json.write_text(json.dumps(asdict(results), indent=1))


if __name__ == "__main__":
    main()

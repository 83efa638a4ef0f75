"""A closed-loop client: each connection sends its next request when the last is answered. It is `wrk` (apt: wrk)."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

_SCRIPT = """
local paths = {{
{paths}
}}
local at = 0
request = function()
    at = at % #paths + 1
    return wrk.format("GET", paths[at])
end
done = function(summary, latency)
    local bad = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
    io.write(string.format('\\n{{"requests":%d,"microseconds":%d,"bytes":%d,"bad":%d,"p50":%f,"p95":%f,"p99":%f}}\\n',
        summary.requests, summary.duration, summary.bytes, bad + summary.errors.status,
        latency:percentile(50), latency:percentile(95), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Rate:
    """The result of a closed loop. `bytes` includes headers; `bad` counts failed requests and answers from 400."""

    requests: int
    seconds: float
    bytes: int
    bad: int
    median_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        """Answered requests per second."""
        return self.requests / self.seconds


def closed_loop(
    root: str, paths: Sequence[str], *, connections: int, seconds: float, headers: Mapping[str, str] | None = None
) -> Rate:
    """Request `paths` below the URL `root` in turn, repeatedly; FileNotFoundError names the package to install."""
    wrk = shutil.which("wrk")
    if not wrk:
        raise FileNotFoundError("wrk is missing: apt-get install wrk")
    prefix = urlsplit(root).path.rstrip("/")
    listed = ",\n".join(json.dumps(prefix + path) for path in paths)
    options = [option for name, value in (headers or {}).items() for option in ("-H", f"{name}: {value}")]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT.format(paths=listed))
        script.flush()
        loop = [wrk, "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "-s", script.name, *options]
        said = subprocess.run([*loop, root], check=True, capture_output=True, text=True).stdout
    found = json.loads(said.splitlines()[-1])
    return Rate(
        found["requests"],
        found["microseconds"] / 1e6,
        found["bytes"],
        found["bad"],
        found["p50"] / 1000,
        found["p95"] / 1000,
        found["p99"] / 1000,
    )

"""The resources of the service, as the conformance statement lists them."""

import re

from tests.service.archive import Sample
from tests.service.process import ROOT

RESOURCES = [
    line.split("`")[1] for line in (ROOT / "doc/conformance.md").read_text().splitlines() if line[:4] == "| `/"
]
BELOW_A_STUDY = [path for path in RESOURCES if "<study>" in path]


def path_of(resource: str, sample: Sample) -> str:
    """The path of a resource for a sample: its UIDs, its first frame, its ICC profile."""
    known = {**dict(zip(("study", "series", "instance"), sample.uids, strict=True)), "frame_list": "1"}
    return re.sub(r"<(?:path:)?(\w+)>", lambda name: known.get(name[1], "00282000"), resource)

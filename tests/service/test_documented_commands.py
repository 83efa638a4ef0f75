"""The commands that README and doc/viewers.md give to newcomers do what they say, on the samples of a first start."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from datastore.samples.ct import SLICES
from datastore.samples.section import SIDE
from tests.service.process import ROOT, Service

DOCUMENTED = "http://127.0.0.1:8080"
INSTANCES_OF_THE_CT = SLICES + 2
"""Its slices, the report and the letter."""


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service after its first start."""
    folder = tmp_path_factory.mktemp("newcomer")
    service = Service(folder, {"DATASTORE_ROOT": str(folder / "data")})
    yield service
    service.stop()


def block(document: str, language: str, word: str, service: Service) -> str:
    """The block of a document that has this word, for the service that runs here."""
    blocks: list[str] = re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL
    )
    (found,) = [text for text in blocks if word in text]
    assert DOCUMENTED in found
    return found.replace(DOCUMENTED, service.root.removesuffix("/aetitle"))


def test_the_commands_of_the_readme_find_a_study_its_picture_and_its_pixels(newcomer: Service, tmp_path: Path) -> None:
    commands = block("README.md", "bash", "curl", newcomer).replace("curl ", "curl --silent --show-error --fail ")
    done = subprocess.run(["bash", "-euc", commands], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    (study,) = json.loads(done.stdout)
    assert study["00100020"]["Value"] == ["SAMPLE1"]
    assert (tmp_path / "ct.jpg").read_bytes().startswith(b"\xff\xd8")
    assert (tmp_path / "ct.raw").stat().st_size == SIDE * SIDE * 2


def test_the_example_in_python_gets_the_instances(newcomer: Service) -> None:
    example = block("doc/viewers.md", "python", "DICOMwebClient", newcomer) + "\nprint(len(instances))\n"
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, f"{INSTANCES_OF_THE_CT}\n"), done.stderr

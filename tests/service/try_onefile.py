"""The service as one file answers as the service does. Run by script/try-onefile, which says where the file is."""

import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from app.commands.command_line import COMMANDS, Command
from app.commands.import_files import NOT_WHOLE
from tests.service.ahi import CREDENTIALS, Ahi
from tests.service.archive import Sample
from tests.service.collector import collecting
from tests.service.process import PROGRAM, ROOT, Service
from tests.store.dicom_files import data_set, encoded

ONEFILE = (os.environ["ONEFILE"],)
SECONDS = 300


@pytest.fixture(scope="module")
def onefile(samples: dict[str, Sample], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The embedded default, which it has filled itself."""
    folder = tmp_path_factory.mktemp("onefile")
    environment = {"DATASTORE_ROOT": str(folder / "data")}
    images = str(next(iter(samples.values())).path.parent)
    command = [*ONEFILE, "import", images]
    done = subprocess.run(command, env={**os.environ, **environment}, check=False, timeout=SECONDS)
    assert done.returncode == NOT_WHOLE, "icons among the samples lose their pixels"
    service = Service(folder, environment, program=ONEFILE)
    yield service
    assert service.stop() == 0


@pytest.mark.parametrize("resource", ["", "/metadata", "/rendered", "/thumbnail"])
def test_every_sample_is_answered_alike(
    onefile: Service, service: Service, samples: dict[str, Sample], resource: str
) -> None:
    for sample in samples.values():
        study, series, instance = sample.uids
        path = f"/studies/{study}/series/{series}/instances/{instance}{resource}"
        one, other = (answer(asked, path) for asked in (onefile, service))
        assert (sample.name, one[0]) == (sample.name, other[0])
        assert one[0] != 200 or one[1] == other[1]


@pytest.mark.parametrize(
    "syntax",
    ["1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"],
)
def test_frames_are_encoded_alike(onefile: Service, service: Service, samples: dict[str, Sample], syntax: str) -> None:
    study, series, instance = samples["CT_small.dcm"].uids
    path = f"/studies/{study}/series/{series}/instances/{instance}"
    accept = {"Accept": f'multipart/related; type="application/dicom"; transfer-syntax={syntax}'}
    assert answer(onefile, path, accept) == answer(service, path, accept)


def answer(service: Service, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body, without what follows from the port: the root, and with it the boundary of multipart bodies."""
    found = requests.get(service.root + path, headers=headers, timeout=60)
    body = found.content.replace(service.root.encode(), b"")
    return found.status_code, re.sub(rb"--dicomweb-[0-9a-f]{48}", b"--", body)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_is_in_it(command: Command) -> None:
    asked = [command.name, "--help"]
    said = [subprocess.run([*program, *asked], capture_output=True, check=False) for program in (ONEFILE, PROGRAM)]
    assert (said[0].returncode, said[0].stdout.split()[2:]) == (0, said[1].stdout.split()[2:])  # after the program


def test_files_beside_the_code_are_unpacked() -> None:
    """Templates, styles, scripts and certificates, each with its bytes."""
    packages = [path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"]
    listed = subprocess.run(["git", "ls-files", *packages], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    beside = [path for path in listed.split() if not path.endswith((".py", "README.md"))]
    unpacked = Path(ONEFILE[0]).with_name("main.dist")
    assert beside
    assert [path for path in beside if not _is_same(unpacked / path, ROOT / path)] == []


def _is_same(one: Path, other: Path) -> bool:
    return one.is_file() and one.read_bytes() == other.read_bytes()


def test_console_look_and_viewer_are_in_it(onefile: Service, samples: dict[str, Sample]) -> None:
    """The viewer if the build has one, as that of script/try-onefile."""
    origin, browser = onefile.root.removesuffix("/aetitle"), {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
    study, *_ = samples["CT_small.dcm"].uids
    for path in ("/console/", f"/console/aetitle/studies/{study}", f"/console/aetitle/look/{study}", "/console/upload"):
        page = requests.get(origin + path, headers=browser, timeout=60)
        assert (path, page.status_code) == (path, 200)
        styles = re.findall(r'(?:href|src)="(/console/static/[^"]+)"', page.text)
        assert styles
        assert {requests.get(origin + one, timeout=60).status_code for one in styles} == {200}
    page = requests.get(f"{origin}/viewer/", headers=browser, timeout=60)
    assert page.status_code == 200
    assert '"sourceName": "aetitle"' in requests.get(f"{origin}/viewer/app-config.js", timeout=60).text
    (bundle,) = re.findall(r'src="(/viewer/app\.bundle[^"]+)"', page.text)
    assert requests.get(origin + bundle, timeout=60).status_code == 200


def test_it_stores(onefile: Service) -> None:
    image = data_set("1.2.99.1.1", study="1.2.99", series="1.2.99.1")
    body = b"--x\r\nContent-Type: application/dicom\r\n\r\n" + encoded(image) + b"\r\n--x--\r\n"
    media_type = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    stored = requests.post(f"{onefile.root}/studies", body, headers=media_type, timeout=60)
    assert stored.status_code == 200, stored.text
    assert requests.get(f"{onefile.root}/studies/1.2.99", timeout=60).status_code == 200


def test_it_brings_all_sample_images_along(tmp_path: Path) -> None:
    imported = []
    for program in (ONEFILE, PROGRAM):
        service = Service(tmp_path / Path(program[0]).name, {"DATASTORE_ROOT": "data"}, program=program)
        imported += re.findall("imported .*", service.log)
        assert service.stop() == 0
    assert imported[0] == imported[1]
    assert len(imported) == 2


def test_it_speaks_with_secrets_manager_mariadb_and_ahi(
    secret_arn: tuple[str, str],
    ahi: Ahi,
    tmp_path: Path,
    samples: dict[str, Sample],
) -> None:
    arn, secrets = secret_arn
    endpoints = {"AWS_ENDPOINT_URL_SECRETS_MANAGER": secrets, "AWS_ENDPOINT_URL_MEDICAL_IMAGING": ahi.url}
    service = Service(tmp_path, {**CREDENTIALS, **endpoints, "DB_SECRET_ARN": arn}, program=ONEFILE)
    study, *_ = samples["CT_small.dcm"].uids
    assert requests.get(f"{service.root}/studies/{study}", timeout=60).status_code == 200
    checked = service.command("check")
    assert checked.returncode == 0, checked.stdout
    assert service.stop() == 0


def test_its_requests_are_traced(datastore_root: Path, tmp_path: Path) -> None:
    """OpenTelemetry finds its parts by entry points, which a build has to be told to keep."""
    trace_id = uuid.uuid4().hex
    with collecting() as collector:
        endpoint = f"http://127.0.0.1:{collector.port}"
        environment = {"DATASTORE_ROOT": str(datastore_root), "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        service = Service(tmp_path, environment, program=ONEFILE)
        parent = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
        assert requests.get(f"{service.root}/studies?limit=1", headers=parent, timeout=60).status_code == 200
        assert "GET /aetitle/studies" in [one.span.name for one in collector.of(trace_id)]
        assert service.stop() == 0

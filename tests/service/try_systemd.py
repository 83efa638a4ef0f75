"""The steps of doc/deploy/ec2.md and index.md, and of the removal, on a machine of its own that runs systemd.

script/try-systemd runs it.

Its database, Secrets Manager and AWS HealthImaging are those of tests/service/test_production.py.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
import requests
from dicomweb_client import DICOMwebClient
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from datastore.storage.storage import Storage
from tests.deploy.files import EC2, ROOT
from tests.deploy.machine import Machine
from tests.index.follow.events import image_set_event
from tests.servers import MariaDb, free_port
from tests.service.ahi import CREDENTIALS, Ahi
from tests.service.archive import Sample
from tests.service.process import Service
from tests.waiting import wait_for

CODE = "/opt/ahi-dicomweb-proxy"
SETTINGS = "/etc/ahi-dicomweb-proxy.env"
AUDIT_FILE = "/var/log/ahi-dicomweb-proxy/audit.xml"
NOT_HERE = ("apt-get ", "git clone ", "editor ")
"""Commands of the document that something else stands for: what is copied and written below."""
QUESTIONS = ("journalctl ", "curl ")
"""Commands that tell whether it works."""


INDEX = ROOT / "doc" / "deploy" / "index.md"
INDEX_SETTINGS = "/etc/ahi-dicomweb-index.env"
OPERATIONS = ROOT / "doc" / "operations.md"


def commands(heading: str, document: Path = EC2) -> list[str]:
    """The shell commands below a heading of a document, but for those of NOT_HERE."""
    block = document.read_text().partition(f"## {heading}\n")[2].partition("```bash\n")[2].partition("```")[0]
    lines = [line.partition("  #")[0].strip() for line in block.splitlines()]
    assert lines
    return [line.replace("git pull && ", "") for line in lines if not line.startswith(NOT_HERE)]


class Host:
    """A machine on which the steps of the document were run."""

    def __init__(self, machine: Machine, settings: dict[str, str]) -> None:
        self.machine = machine
        self.port = settings["PORT"]
        self.root = f"http://127.0.0.1:{self.port}/aetitle"
        wait_for(self._is_booted, pause_seconds=0.5)
        machine.receive(".", folder=CODE)
        for command in (one for one in commands("Installation") if not one.startswith(QUESTIONS)):
            if command.startswith("install -m 0644"):  # before the service starts, after the file is there
                self.write(SETTINGS, settings)
            self.sh(command)

    def write(self, path: str, settings: dict[str, str]) -> None:
        """Add settings to a file, as an operator does with an editor."""
        lines = "".join(f"{name}={value}\n" for name, value in settings.items())
        self.machine.check("tee", "--append", path, text_in=lines.encode())

    def _is_booted(self) -> bool:
        """Whether systemd has set up the machine; as long as it does, it deletes what others write to /tmp."""
        return self.machine.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")

    def sh(self, command: str) -> str:
        """A command of an operator, as root, that must succeed."""
        return self.machine.check("bash", "-c", f"cd {CODE} && {command}")

    def state(self, *names: str, unit: str = "ahi-dicomweb-proxy") -> list[str]:
        """What systemd knows of a unit."""
        wanted = ",".join(names)
        return self.machine.check("systemctl", "show", "--value", f"--property={wanted}", unit).split()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds; a failure shows the journal."""
        try:
            wait_for(condition, pause_seconds=0.5)
        except AssertionError as error:
            raise AssertionError(self.journal()[-2000:]) from error

    def journal(self, unit: str = "ahi-dicomweb-proxy") -> str:
        """All that a unit logged."""
        return self.machine.check("journalctl", f"--unit={unit}", "--output=cat", "--no-pager")


@pytest.fixture(scope="module")
def host(secret_arn: tuple[str, str], ahi: Ahi) -> Iterator[Host]:
    arn, secrets = secret_arn
    machine = Machine(["/lib/systemd/systemd", "--unit=basic.target", "--show-status=false"])
    settings = {
        **CREDENTIALS,
        "DB_SECRET_ARN": arn,
        "PORT": str(free_port()),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": secrets,
        "AWS_ENDPOINT_URL_MEDICAL_IMAGING": ahi.url,
        "CACHE_MAX_BYTES": "1073741824",
        "AUDIT": "file",
        "AUDIT_FILE": AUDIT_FILE,
        "AUDIT_FAILURE": "refuse",
        "AE_TITLES": '{"research": {"filter": {"Modality": ["MR", "CT"]}}}',  # as the file shows it, without quotes
    }
    try:
        yield Host(machine, settings)
    finally:
        machine.close()


def test_the_service_is_ready_when_it_is_started(host: Host) -> None:
    assert requests.get(f"{host.root}/health", timeout=60).status_code == 200
    assert host.state("ActiveState", "NRestarts", "SubState") == ["0", "active", "running"]
    assert requests.get(host.root.replace("aetitle", "research/studies"), timeout=60).status_code == 200
    assert "QIDO/WADO-RS service started." in host.journal()


def test_what_the_document_asks_afterwards_has_the_answer_that_it_says(host: Host) -> None:
    journal, health = (one for one in commands("Installation") if one.startswith(QUESTIONS))
    (expected,) = re.findall(r"ends with: (.*)", EC2.read_text())
    host.sh("systemctl restart ahi-dicomweb-proxy")

    def says_so() -> bool:  # among what it logs next
        since = host.sh(f"{journal} --output=cat --no-pager").rpartition("[Shutdown] - done")[2]
        return any(line.endswith(expected) for line in since.replace(host.port, "8080").splitlines())

    host.wait_for(says_so)
    asked = health.replace("8080", host.port).replace("curl ", "curl --silent --show-error --fail ")
    assert host.sh(asked) == "OK"


def test_nothing_that_it_does_is_forbidden_to_it(host: Host, service: Service, samples: dict[str, Sample]) -> None:
    """Codecs, encoders and fonts work without writable code, under the filter of system calls: as without it."""
    client = DICOMwebClient(host.root)
    for sample in samples.values():
        study, series, instance = sample.uids
        for resource in ("", "/metadata", "/rendered", "/thumbnail"):
            path = f"/studies/{study}/series/{series}/instances/{instance}{resource}"
            assert requests.get(host.root + path, timeout=60).status_code == service.status(path), (
                sample.name,
                resource,
            )
    uids = samples["CT_small.dcm"].uids
    for syntax in ("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"):
        received = client.retrieve_instance(*uids, media_types=(("application/dicom", syntax),))
        assert received.file_meta.TransferSyntaxUID == syntax
    assert not re.search(r"Traceback|Operation not permitted|Permission denied|Read-only", host.journal())


def test_operators_see_its_settings_and_its_cache(host: Host) -> None:
    found = host.sh("dicomweb check")
    assert "ok       database" in found
    assert re.search(f"^ok +audit +{AUDIT_FILE} can be written to$", found, flags=re.MULTILINE)
    cache = host.sh("dicomweb cache")
    assert cache.splitlines()[0] == "/var/cache/private/ahi-dicomweb-proxy"
    assert re.search(r"^frames +[1-9]", cache, flags=re.MULTILINE)


def test_its_audit_trail_is_its_own_and_outlives_it(host: Host) -> None:
    assert requests.get(f"{host.root}/studies?limit=1", timeout=60).status_code == 200
    known = host.sh(f"cat {AUDIT_FILE}").splitlines()
    assert known and all("<AuditMessage" in line for line in known)
    assert host.sh(f"stat --format=%a {AUDIT_FILE} /var/log/private/ahi-dicomweb-proxy").split() == ["600", "700"]
    host.sh("systemctl restart ahi-dicomweb-proxy")
    assert len(host.sh(f"cat {AUDIT_FILE}").splitlines()) == len(known) + 2


def test_a_reload_takes_new_processes_and_no_start(host: Host) -> None:
    before = host.sh("pgrep --exact web0").split()
    host.sh("systemctl reload ahi-dicomweb-proxy")
    host.wait_for(lambda: "[Reload] - new web processes take over" in host.journal())
    host.wait_for(lambda: not set(before) & set(host.machine.run("pgrep", "--exact", "web0").stdout.split()))
    assert requests.get(f"{host.root}/health", timeout=60).status_code == 200
    assert host.state("ActiveState", "NRestarts") == ["0", "active"]


def test_an_update_is_one_command(host: Host) -> None:
    before = host.state("MainPID")
    for command in commands("Updates"):
        host.sh(command)
    assert host.state("MainPID") != before
    assert requests.get(f"{host.root}/health", timeout=60).status_code == 200


def test_it_comes_back_when_it_was_killed(host: Host) -> None:
    host.sh("systemctl kill --signal=KILL --kill-who=main ahi-dicomweb-proxy")
    host.wait_for(lambda: host.state("ActiveState", "NRestarts") == ["1", "active"])
    assert requests.get(f"{host.root}/health", timeout=60).status_code == 200


def test_what_hangs_is_replaced_by_the_supervisor_and_that_by_systemd(host: Host) -> None:
    host.sh("kill -STOP $(pgrep --exact web0)")
    hung = "process is hung: its listening loop stands still; killing it name=web0"
    host.wait_for(lambda: hung in host.journal())
    folder = "/etc/systemd/system/ahi-dicomweb-proxy.service.d"
    shorter = r"[Service]\nWatchdogSec=5\nTimeoutStopSec=5\n"
    host.sh(f"mkdir --parents {folder} && printf '{shorter}' >{folder}/shorter.conf && systemctl daemon-reload")
    host.sh("systemctl restart ahi-dicomweb-proxy && sleep 10")
    assert host.state("NRestarts", "ActiveState") == ["0", "active"]  # it says that it lives, in time
    host.sh("systemctl kill --signal=STOP --kill-who=main ahi-dicomweb-proxy")
    host.wait_for(lambda: host.state("NRestarts", "ActiveState") == ["1", "active"])
    host.sh(f"rm --recursive {folder} && systemctl daemon-reload && systemctl restart ahi-dicomweb-proxy")
    assert requests.get(f"{host.root}/health", timeout=60).status_code == 200


def test_a_wrong_setting_is_one_line_and_is_not_tried_again(host: Host) -> None:
    host.sh(f"cp {SETTINGS} /root/kept && echo PREFETCH_FRAMES=many >>{SETTINGS}")
    started = host.machine.run("systemctl", "restart", "ahi-dicomweb-proxy")
    assert started.returncode == 1
    assert host.state("ActiveState", "ExecMainStatus") == ["2", "failed"]
    assert "\nPREFETCH_FRAMES is not a whole number\n" in host.journal()
    host.sh(f"cp /root/kept {SETTINGS} && systemctl start ahi-dicomweb-proxy")


@pytest.mark.parametrize(
    "forget", [f"echo DB_SECRET_ARN= >>{SETTINGS}", f"cp {CODE}/systemd/ahi-dicomweb-proxy.env {SETTINGS}"]
)
def test_a_forgotten_index_is_one_line_and_no_service_with_sample_data(host: Host, forget: str) -> None:
    """The variable has no value, or nobody has edited the file."""
    host.sh(f"cp {SETTINGS} /root/kept && {forget}")
    before = len(host.journal())
    started = host.machine.run("systemctl", "restart", "ahi-dicomweb-proxy")
    assert started.returncode == 1
    assert host.state("ActiveState", "ExecMainStatus") == ["2", "failed"]
    (line,) = [one for one in host.journal()[before:].splitlines() if "DATABASE_URL" in one]
    assert line.startswith("neither DB_SECRET_ARN nor DATABASE_URL says where the index is") and "EMBEDDED=true" in line
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{host.root}/health", timeout=60)
    host.sh(f"cp /root/kept {SETTINGS} && systemctl start ahi-dicomweb-proxy")


def test_it_is_tried_again_until_aws_is_back(host: Host) -> None:
    host.sh(f"cp {SETTINGS} /root/kept && echo AWS_ENDPOINT_URL_SECRETS_MANAGER=http://127.0.0.1:9 >>{SETTINGS}")
    assert host.machine.run("systemctl", "restart", "ahi-dicomweb-proxy").returncode == 1
    assert host.state("ActiveState") == ["activating"]
    host.sh(f"cp /root/kept {SETTINGS}")
    host.wait_for(lambda: host.state("ActiveState") == ["active"])


class OwnIndex:
    """An empty database, a secret with a login that writes to it, and a queue of events."""

    def __init__(self, mariadb: MariaDb, endpoint: str) -> None:
        self.url = mariadb.new_database()
        found = make_url(self.url)
        members = {"host": found.host, "port": found.port, "username": found.username, "password": found.password}
        session = boto3.Session("AKIA", "secret", region_name="us-east-1")
        manager = session.client("secretsmanager", endpoint_url=endpoint)
        secret = json.dumps({**members, "dbname": found.database})
        self.secret_arn: str = manager.create_secret(Name="write", SecretString=secret)["ARN"]
        self._queues = session.client("sqs", endpoint_url=endpoint)
        self.queue: str = self._queues.create_queue(QueueName="events")["QueueUrl"]
        self.endpoint = endpoint

    def send(self, datastore_id: str, image_set_id: str) -> None:
        """Send what AHI tells of a new image set."""
        body = json.dumps(image_set_event("Created", image_set_id, datastore_id))
        self._queues.send_message(QueueUrl=self.queue, MessageBody=body)

    def image_sets(self) -> list[str]:
        """The image sets that the index has; none before its tables are there."""
        engine = create_engine(self.url)
        with engine.connect() as connection:
            there = connection.scalar(text("SHOW TABLES LIKE 'imageset'"))
            ids = list(connection.scalars(text("SELECT imagesetid FROM imageset"))) if there else []
        engine.dispose()
        return ids


def test_a_follower_is_a_unit_of_its_own(
    host: Host, mariadb: MariaDb, secret_arn: tuple[str, str], ahi: Ahi, datastore_root: Path
) -> None:
    """With a user, settings and a login of its own."""
    unit, own = "ahi-dicomweb-index", OwnIndex(mariadb, secret_arn[1])
    settings = {
        **CREDENTIALS,
        "INDEX_WRITE_SECRET_ARN": own.secret_arn,
        "INDEX_EVENTS_QUEUE_URL": own.queue,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": own.endpoint,
        "AWS_ENDPOINT_URL_SQS": own.endpoint,
        "AWS_ENDPOINT_URL_MEDICAL_IMAGING": ahi.url,
    }
    *steps, journal = commands("4. Follow", INDEX)
    for command in steps:
        if command.startswith("install -m 0644"):
            host.write(INDEX_SETTINGS, settings)
        host.sh(command)
    (expected,) = re.findall(r"^journalctl -u ahi-dicomweb-index +# (.*)$", INDEX.read_text(), re.MULTILINE)
    host.wait_for(lambda: expected in host.sh(f"{journal} --output=cat --no-pager"))
    assert host.state("ActiveState", "NRestarts", "SubState", unit=unit) == ["0", "active", "running"]
    storage = Storage.open(datastore_root / "store")
    first = next(iter(storage.image_sets()))
    own.send(storage.datastore.datastore_id, first.image_set_id)
    host.wait_for(lambda: own.image_sets() == [first.image_set_id])
    user = host.sh(f"ps --no-headers -o user:32 --pid $(systemctl show --value --property=MainPID {unit})").strip()
    assert user not in ("root", "ahi-dicomweb-proxy")
    assert host.sh(f"stat --format=%a {INDEX_SETTINGS}").strip() == "600"
    assert not re.search(r"Traceback|Operation not permitted|Permission denied|Read-only", host.journal(unit))


def test_a_follower_ends_what_it_has_begun_and_a_wrong_setting_is_one_line(host: Host) -> None:
    unit = "ahi-dicomweb-index"
    host.sh(f"systemctl stop {unit}")
    assert host.state("ActiveState", "ExecMainStatus", "Result", unit=unit) == ["success", "0", "inactive"]
    assert "following ended" in host.journal(unit)
    host.sh(f"cp {INDEX_SETTINGS} /root/index && echo INDEX_COMPARE=noon >>{INDEX_SETTINGS}")
    assert host.machine.run("systemctl", "restart", unit).returncode == 1
    assert host.state("ActiveState", "ExecMainStatus", unit=unit) == ["2", "failed"]
    assert "\nINDEX_COMPARE is not a time like 03:00\n" in host.journal(unit)
    host.sh(f"cp /root/index {INDEX_SETTINGS} && systemctl start {unit}")
    host.sh(f"systemctl kill --signal=KILL {unit}")
    host.wait_for(lambda: host.state("ActiveState", "NRestarts", unit=unit) == ["1", "active"])


def test_it_stops_and_leaves_nothing(host: Host) -> None:
    host.sh("systemctl stop ahi-dicomweb-proxy ahi-dicomweb-index")
    assert host.state("ActiveState", "ExecMainStatus") == ["0", "inactive"]
    assert host.machine.run("pgrep", "--full", f"{CODE}/.venv").returncode == 1


def test_the_removal_leaves_the_audit_trail_and_nothing_else(host: Host) -> None:
    host.sh("systemctl start ahi-dicomweb-proxy")
    section = OPERATIONS.read_text().partition("On EC2, as root:\n")[2]
    lines = section.partition("```bash\n")[2].partition("```")[0].splitlines()
    for command in (line.partition("  #")[0].strip() for line in lines):
        host.machine.check("bash", "-c", f"cd /root && {command}")
    found = host.machine.check("find", "/etc", "/opt", "/usr/local", "/var", "-name", "ahi-dicomweb-*").split()
    assert {path.replace("/private", "") for path in found} == {"/var/log/ahi-dicomweb-proxy"}
    assert host.machine.run("pgrep", "--full", f"{CODE}/.venv").returncode == 1

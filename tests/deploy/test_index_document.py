"""doc/deploy/index.md, walked from the top: its commands are run as they stand there, and lead to a working service.

Stand-ins: the embedded data store for AHI, moto for SQS, EventBridge and Secrets Manager, MariaDB for the database, a
process for the unit of systemd. Only names of hosts, accounts, secrets and data stores are put in.
"""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
import requests
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from sqlalchemy.engine import make_url

from datastore.embedded import Embedded
from datastore.storage.storage import Storage
from tests.aws_server import AwsServer
from tests.deploy.files import INDEX_ENVIRONMENT_FILE, INDEX_UNIT, ROOT
from tests.index.follow.events import image_set_event
from tests.index.follow.process import FollowerProcess
from tests.servers import MariaDb
from tests.service.ahi import CREDENTIALS, Ahi
from tests.service.process import PROGRAM, Service
from tests.waiting import wait_for

pytestmark = pytest.mark.service

DOCUMENT = (ROOT / "doc" / "deploy" / "index.md").read_text()
ACCOUNT = "123456789012"  # of moto
PASSWORD = "w4lk"  # noqa: S105 - a test's
FILES = ("CT_small.dcm", "MR_small.dcm")
PATIENCE_SECONDS = 120


def commands(language: str, part: str) -> list[str]:
    """The commands of the blocks in a language below the headings of a part; continued lines are one command."""
    text = DOCUMENT.partition(f"\n## {part}\n")[2].partition("\n## ")[0]
    found: list[str] = []
    for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL):
        pending = ""
        for line in block.splitlines():
            pending = f"{pending}\n{line}" if pending else line
            if not pending.endswith("\\") and pending.count("'") % 2 == 0:
                found.append(pending.replace("\\\n", " ").partition("  #")[0].strip())
                pending = ""
        assert not pending
    return found


class Walk:
    """An operator, the place where the commands work, and what has come of them."""

    def __init__(self, folder: Path, mariadb: MariaDb, ahi: Ahi, endpoint: str) -> None:
        self.folder, self.mariadb, self.ahi = folder, mariadb, ahi
        self.storage = Storage.open(folder / "store" / "store")
        self.datastore_id = self.storage.datastore.datastore_id
        self.host, self.endpoint = make_url(mariadb.url("x")), endpoint
        self.exported: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        self.follower: FollowerProcess | None = None
        self.walked: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process of the operator."""
        places = {"AWS_ENDPOINT_URL": self.endpoint, "AWS_ENDPOINT_URL_MEDICAL_IMAGING": self.ahi.url}
        return {**CREDENTIALS, **places, **self.exported}

    def placed(self, command: str) -> str:
        """A command with the names of this place."""
        names = {
            "0123456789abcdef0123456789abcdef": self.datastore_id,
            "111122223333": ACCOUNT,
            "index.example.org": "127.0.0.1",
            '"port": 3306': f'"port": {self.host.port}',
            '"password": "..."': f'"password": "{PASSWORD}"',
            f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}": f"{self.endpoint}/{ACCOUNT}",
            "arn:aws:secretsmanager:...": self.secrets.get("dicomindex-write", ""),
        }
        for name, here in names.items():
            command = command.replace(name, here)
        return command

    def run(self, command: str) -> None:
        """Run one command."""
        words = shlex.split(self.placed(command))
        (name,) = [name for name in COMMANDS if words[: len(name.split())] == name.split()]
        COMMANDS[name](self, words[len(name.split()) :])
        self.walked.append(name)

    def export(self, words: list[str]) -> None:
        self.exported |= dict(word.split("=", 1) for word in words)

    def aws(self, words: list[str]) -> None:
        """Call what a command of the AWS CLI calls, with its options."""
        service, operation, *options = words
        client = cast(Any, boto3).client(service, region_name="us-east-1", endpoint_url=self.endpoint)
        method = operation.replace("-", "_")
        members = client.meta.service_model.operation_model(
            client.meta.method_to_api_mapping[method]
        ).input_shape.members
        given = {}
        for option, text in zip(options[::2], options[1::2], strict=True):
            name = "".join(part.capitalize() for part in option.removeprefix("--").split("-"))
            value = self.placed((ROOT / text.removeprefix("file://")).read_text()) if "file://" in text else text
            given[name] = value if members[name].type_name == "string" else json.loads(value)
        answer = getattr(client, method)(**given)
        if service == "secretsmanager":
            self.secrets[given["Name"]] = answer["ARN"]

    def main(self, words: list[str]) -> None:
        own = {"PATH": os.environ["PATH"], "CACHE_ROOT": str(self.folder / "cache"), **self.environment}
        done = subprocess.run(
            [*PROGRAM, *words],
            cwd=self.folder,
            env=own,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"

    def install(self, words: list[str]) -> None:
        assert (ROOT / words[2]).is_file()

    def systemctl(self, words: list[str]) -> None:
        """Start the process of the unit, with the settings that an operator fills in."""
        if words[:2] != ["enable", "--now"]:
            return
        assert words[2] == INDEX_UNIT.stem
        (started,) = re.findall(r"^ExecStart=\S+ main.py (.+)$", INDEX_UNIT.read_text(), re.MULTILINE)
        assert started == "index --follow"
        url = re.findall(r"--queue-url (\S+)", self.placed(DOCUMENT))[0]
        settings = {**self.exported, "INDEX_EVENTS_QUEUE_URL": url}
        in_file = re.findall(r"^#?([A-Z_]+)=", INDEX_ENVIRONMENT_FILE.read_text(), re.MULTILINE)
        assert settings.keys() <= set(in_file)
        self.follower = FollowerProcess(self.folder, {**self.environment, **settings})

    def editor(self, _words: list[str]) -> None:
        """`systemctl` above has what the operator writes."""

    def journalctl(self, _words: list[str]) -> None:
        (shown,) = re.findall(r"journalctl -u ahi-dicomweb-index +# (.+)", DOCUMENT)
        assert self.follower
        assert shown in self.follower.log

    def import_files(self, *paths: Path) -> None:
        """Have AHI hold these files."""
        Embedded(self.folder / "store").fill(list(paths))


COMMANDS: dict[str, Callable[[Walk, list[str]], None]] = {
    "aws": Walk.aws,
    "export": Walk.export,
    "python main.py": Walk.main,
    "install": Walk.install,
    "editor": Walk.editor,
    "systemctl": Walk.systemctl,
    "journalctl": Walk.journalctl,
}


def written(name: str, folder: Path) -> Path:
    """A file of a study of its own."""
    data_set = dcmread(str(get_testdata_file(name)))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(data_set, keyword, generate_uid())
    path = folder / f"{generate_uid()}.dcm"
    data_set.save_as(path)
    return path


@pytest.fixture
def walk(tmp_path: Path, mariadb: MariaDb, monkeypatch: pytest.MonkeyPatch) -> Iterator[Walk]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    Embedded(tmp_path / "store").fill([written(name, tmp_path) for name in FILES])
    ahi = Ahi(tmp_path / "store")
    server = AwsServer()
    server.start()
    made = Walk(tmp_path, mariadb, ahi, "http://{}:{}".format(*server.get_host_and_port()))
    yield made
    if made.follower:
        made.follower.stop()
    server.stop()
    ahi.stop()


def studies(service: Service) -> int:
    """The number of studies that a search finds."""
    answer = requests.get(f"{service.root}/studies", timeout=PATIENCE_SECONDS)
    return len(answer.json()) if answer.status_code == requests.codes.ok else 0


def test_the_document_leads_from_nothing_to_a_service_that_follows(walk: Walk) -> None:
    for statement in commands("sql", "Without the CDK stack"):
        walk.mariadb.execute(statement.replace("'...'", f"'{PASSWORD}'"))
    *steps, check = commands("bash", "Without the CDK stack")
    assert check == "python main.py check"
    for command in steps:
        walk.run(command)
    reading = {**walk.environment, "DB_SECRET_ARN": walk.secrets["dicomindex-read"]}
    service = Service(walk.folder / "service", reading, healthy=False)
    try:
        assert studies(service) == len(FILES)
        before = {one.image_set_id for one in walk.storage.image_sets()}
        walk.import_files(written("JPEG2000.dcm", walk.folder))
        (new,) = {one.image_set_id for one in walk.storage.image_sets()} - before
        put_event(walk, image_set_event("Created", new, walk.datastore_id))
        put_event(walk, image_set_event("Created", new, "e" * 32))  # the rule keeps it from the queue
        wait_for(lambda: studies(service) == len(FILES) + 1)
        walk.exported["DB_SECRET_ARN"] = walk.secrets["dicomindex-read"]
        walk.run(check)
        walk.run("python main.py index --compare")
    finally:
        service.stop()
    assert set(walk.walked) == set(COMMANDS)


def put_event(walk: Walk, event: dict[str, Any]) -> None:
    """Have EventBridge deliver an event as AHI sends it."""
    entry = {"Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(event["detail"])}
    client = boto3.client("events", region_name="us-east-1", endpoint_url=walk.endpoint)
    answer = client.put_events(Entries=[{**entry, "Resources": event["resources"]}])
    assert answer["FailedEntryCount"] == 0


def test_a_walk_can_fail(walk: Walk) -> None:
    walk.exported["INDEX_WRITE_URL"] = "mysql+pymysql://nobody@127.0.0.1:1/index"
    for wrong in (
        "python main.py index --invented",
        "aws sqs invent-queue",
        "invented",
        "install -m 0644 systemd/none x",
    ):
        with pytest.raises((AssertionError, ValueError, KeyError, AttributeError)):
            walk.run(wrong)

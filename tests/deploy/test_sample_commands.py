"""The commands of the AWS sample, walked through: each finds here what it names, and gets what it asks for.

There is neither AWS nor Docker where the tests run. A command is held to the files that it uses: the templates are
resolved with its parameters, variables must be settings. The stack of the repository is made on moto. Log and paths are
tested with a running service in `tests/service/test_sample_data.py`.
"""

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib.metadata import packages_distributions
from pathlib import Path

import boto3
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.settings import Settings, variable
from tests.aws_server import AwsServer
from tests.deploy.files import ROOT, TEMPLATES, instructions
from tests.deploy.stack import SECRET, Stack

SAMPLE = json.loads(Path(__file__).with_name("sample_commands.json").read_text())
DOCUMENT = (ROOT / "doc" / "deploy" / "aws-sample.md").read_text()
SETTINGS = {variable(setting) for setting in fields(Settings)}


def walk(command: str) -> None:
    """Hold one command to what is here."""
    words = shlex.split(command)
    given = {}
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        given[name] = value
    assert Settings.from_env(given).names_index or not given
    known = [name for name in COMMANDS if words[: len(name.split())] == name.split()]
    (name,) = known
    COMMANDS[name](words[len(name.split()) :])


def options(words: list[str]) -> dict[str, list[str]]:
    """The values of each option; words without one are those of ""."""
    found: dict[str, list[str]] = {}
    last = ""
    for word in words:
        if word.startswith("-"):
            last = word
        else:
            found.setdefault(last, []).append(word)
    return found


def pip_install(words: list[str]) -> None:
    (name,) = options(words)["-r"]
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith(("#", "-"))]
    pins = {canonicalize_name(Requirement(line.partition(" #")[0]).name) for line in lines}
    distributions = packages_distributions()
    for library in imported():
        assert {canonicalize_name(one) for one in distributions[library]} & pins, library


def imported() -> set[str]:
    """The libraries that the code imports, but for what comes with Python and what only checks of types need."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    sources = [ROOT / "main.py", *(path for package in packages for path in (ROOT / package).rglob("*.py"))]
    text = "\n".join(path.read_text() for path in sources)
    names = set(re.findall(r"^(?:from|import) (\w+)", text, flags=re.MULTILINE))
    return names - packages - sys.stdlib_module_names


def run_main(words: list[str]) -> None:
    assert words == ["main.py"]
    assert (ROOT / "main.py").is_file()


def run_one_file(_words: list[str]) -> None:
    assert "main.bin" in (ROOT / "script" / "onefile").read_text()


def deploy(words: list[str]) -> None:
    found = options(words)
    (name,) = found["--template-file"]
    parameters = dict(word.split("=", 1) for word in found.get("--parameter-overrides", []))
    stack = Stack(ROOT / name, parameters)
    assert stack.broken_rules == []
    assert None not in stack.parameters.values(), "a parameter without a default is not given"
    roles = [one for one in stack.resources.values() if "AssumeRolePolicyDocument" in one]
    named = [one for one in roles if "RoleName" in one]
    assert found["--capabilities"] == ["CAPABILITY_IAM"]
    assert not named, "a role with a name needs CAPABILITY_NAMED_IAM"
    assert set(SAMPLE["outputs"][name]) <= stack.outputs.keys()


def describe_stacks(words: list[str]) -> None:
    (query,) = options(words)["--query"]
    (output,) = re.findall(r"OutputKey==`(\w+)`", query)
    assert output in Stack(TEMPLATES[0], {}).outputs


def docker_build(words: list[str]) -> None:
    assert options(words)["-t"] == ["repository:latest", "."]
    assert next(instructions())[0] == "ARG"  # a Dockerfile, in this folder; it has no other argument without a default
    assert all("=" in arguments for name, arguments in instructions() if name == "ARG")


def docker_push(words: list[str]) -> None:
    tag = words[0].partition(":")[2]
    filters = Stack(TEMPLATES[0], {}).resources["DICOMWebProxyRepository"]["ImageTagMutabilityExclusionFilters"]
    assert tag in {one["ImageTagMutabilityExclusionFilterValue"] for one in filters}, "it cannot be pushed twice"


def docker_run(words: list[str]) -> None:
    variables = [words[place + 1] for place, word in enumerate(words) if word == "-e"]
    given = dict(one.split("=", 1) for one in variables)
    assert given.keys() <= SETTINGS
    in_image = dict(one.split("=", 1) for name, text in instructions() if name == "ENV" for one in text.split())
    settings = Settings.from_env({**in_image, **given})
    (published,) = options(words)["-p"][:1]
    assert published.split(":")[1] == str(settings.port)
    assert ("EXPOSE", str(settings.port)) in instructions()
    assert (settings.names_index, settings.on_loopback) == (True, False)


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "python -m pip install": pip_install,
    "python main.py": lambda words: run_main(["main.py", *words]),
    "./main.bin": run_one_file,
    "aws cloudformation deploy": deploy,
    "aws cloudformation describe-stacks": describe_stacks,
    "docker build": docker_build,
    "docker push": docker_push,
    "docker run": docker_run,
}


@pytest.mark.parametrize("command", SAMPLE["commands"])
def test_a_command_of_the_sample_finds_what_it_names(command: str) -> None:
    walk(command)


@pytest.mark.parametrize(
    "wrong",
    [
        "aws cloudformation deploy --template-file ecs-cfn-template.yaml --capabilities CAPABILITY_IAM",
        "aws cloudformation describe-stacks --query 'Stacks[0].Outputs[?OutputKey==`Repository`].OutputValue'",
        "docker run -e SECRET=x -p 8080:8080 repository:latest",
        "docker push repository:1",
        "DB_SECRET=x python main.py",
    ],
)
def test_a_walk_can_fail(wrong: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        walk(wrong)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = AwsServer()
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    yield
    server.stop()


@pytest.mark.usefixtures("aws")
@pytest.mark.slow
def test_the_stack_of_the_repository_can_be_made() -> None:
    stacks = boto3.client("cloudformation", region_name="us-east-1")
    stacks.create_stack(StackName="dicomweb-proxy-ecr", TemplateBody=TEMPLATES[0].read_text())
    (stack,) = stacks.describe_stacks(StackName="dicomweb-proxy-ecr")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    outputs = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}
    (made,) = boto3.client("ecr", region_name="us-east-1").describe_repositories()["repositories"]
    assert outputs["ECRRepositoryURI"] == outputs["RepositoryUri"] == made["repositoryUri"]
    assert outputs["ECRRepositoryName"] == made["repositoryName"]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_the_document_names_all_parameters_and_outputs(template: Path) -> None:
    secrets = {"DBSecretArn": SECRET, "IndexWriteSecretArn": SECRET}
    stack = Stack(template, secrets if template == TEMPLATES[1] else {})
    named = set(re.findall(r"`([A-Za-z]+)[=`]", DOCUMENT))
    assert sorted({*stack.parameters, *stack.outputs} - named) == []


def test_the_document_has_the_commands_of_the_sample() -> None:
    for command in ("python -m pip install -r requirements.txt", "python main.py", "docker build -t", "docker run -e"):
        assert command in DOCUMENT

"""The papers around the code are complete, and say what the code and the installed libraries say."""

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

from app.version import VERSION
from tests.deploy.files import instructions

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def script(name: str) -> ModuleType:
    """A module of script/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "script" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


licences = script("licences")
lock_requirements = script("lock_requirements")


def pins() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line.partition(" #")[0].strip() for line in lines if line and not line.startswith("#")]


def test_the_licence_is_the_standard_text() -> None:
    """As apache.org publishes it, and as Debian has it."""
    text = (ROOT / "LICENSE").read_bytes()
    assert hashlib.sha256(text).hexdigest() == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    assert PROJECT["license"] == "Apache-2.0"
    assert "LICENSE" in PROJECT["license-files"]


def test_pyproject_has_the_dependencies_of_requirements() -> None:
    assert sorted(PROJECT["dependencies"]) == sorted(pins())
    assert PROJECT["authors"] == [{"name": "the AHI DICOMweb Proxy authors"}]


@pytest.mark.service
def test_the_version_is_the_same_everywhere() -> None:
    releases = re.findall(
        r"^## (\d+\.\d+\.\d+) \(\d{4}-\d{2}-\d{2}\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert PROJECT["version"] == VERSION == releases[0]
    command = [sys.executable, "main.py", "--version"]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert (said.stdout, said.stderr) == (f"ahi-dicomweb-proxy {VERSION}\n", "")


def test_the_entry_point_runs_the_command_line() -> None:
    module, _, name = PROJECT["scripts"]["ahi-dicomweb-proxy"].partition(":")
    command = [sys.executable, "-c", f"import sys; from {module} import {name}; sys.argv[1:] = ['--version']; {name}()"]
    assert subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.endswith(f"{VERSION}\n")


def test_third_party_lists_every_library_with_its_licence() -> None:
    """`.venv/bin/python script/licences.py table` writes it anew."""
    text = (ROOT / "THIRD_PARTY.md").read_text()
    assert licences.written_table(text) == licences.table(licences.libraries())


def test_third_party_has_the_viewer_that_is_built_in() -> None:
    assert f"OHIF Viewer {script('make_viewer').VERSION}," in (ROOT / "THIRD_PARTY.md").read_text()


def test_no_library_is_under_the_gpl_or_the_agpl() -> None:
    found = {one.name: one.licence for one in licences.libraries()}
    assert len(found) > 40
    assert [name for name, licence in found.items() if re.search(r"(?<!L)GPL|General Public", licence)] == []
    lesser = {name for name, licence in found.items() if "LGPL" in licence}
    assert lesser == {"psycopg", "psycopg-binary"}  # THIRD_PARTY.md says what that means


@pytest.mark.parametrize(
    ("said", "licence"),
    [
        ({"License-Expression": ["MIT"], "License": ["other"]}, "MIT"),
        ({"License": ["ZPL 2.1"]}, "ZPL-2.1"),
        ({"License": ["GPL V3.0"], "Classifier": ["License :: OSI Approved :: MIT License"]}, "GPL V3.0"),
        ({"License": ["line\nline"], "Classifier": ["License :: OSI Approved :: MIT License"]}, "MIT"),
    ],
)
def test_a_licence_is_read_from_metadata(said: dict[str, list[str]], licence: str) -> None:
    class About:
        def get(self, name: str) -> str | None:
            return said.get(name, [None])[0]

        def get_all(self, name: str) -> list[str] | None:
            return said.get(name)

    assert licences.licence(About()) == licence


def test_metadata_without_a_licence_is_an_error() -> None:
    class About(dict[str, str]):
        get_all = dict[str, str].get

    with pytest.raises(ValueError, match="tells no licence"):
        licences.licence(About(Name="secretive"))


def test_the_lock_file_has_every_library_with_hashes() -> None:
    """`script/lock` writes it anew."""
    text = (ROOT / "requirements.lock").read_text()
    locked = licences.locked(text)
    assert len(locked) == len(re.findall(r"^[a-z0-9-]+==", text, re.MULTILINE))
    assert all(locked.values())
    pinned = [Requirement(pin) for pin in pins()]
    wanted = {(licences.plain(pin.name), str(pin.specifier).removeprefix("==")) for pin in pinned}
    assert wanted <= locked.keys()
    names = {name for name, _ in locked}
    assert {licences.plain(one.name) for one in licences.libraries()} <= names


def test_the_image_installs_by_hash() -> None:
    assert ("COPY", "requirements.lock ./") in [*instructions()]
    installs = [words for name, words in instructions() if name == "RUN" and "pip install" in words]
    assert len(installs) == 1
    assert "--require-hashes --requirement requirements.lock" in installs[0]


def test_libraries_that_not_every_python_gets_have_a_marker() -> None:
    one, two, three = ("a", "1", "00"), ("a", "2", "11"), ("b", "1", "22")
    text = lock_requirements.lock_text({"3.10": {one, three}, "3.11": {two, three}, "3.12": {two, ("b", "1", "33")}})
    assert text.replace(" \\\n    --hash=sha256:", " ").splitlines() == [
        'a==1 ; python_version < "3.11" 00',
        'a==2 ; python_version >= "3.11" 11',
        "b==1 22 33",
    ]


def test_the_command_prints_a_bill_of_materials_and_nothing_else() -> None:
    assert "script/licences.py sbom" in (ROOT / "script" / "sbom").read_text()
    command = [sys.executable, "script/licences.py", "sbom"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(printed.stdout) is None
    assert (printed.stderr, json.loads(printed.stdout)["components"] != []) == ("", True)


def test_the_bill_of_materials_is_one() -> None:
    document = licences.sbom((ROOT / "requirements.lock").read_text(), VERSION)
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(document)) is None
    components = {one["name"]: one for one in document["components"]}
    assert components["flask"]["licenses"] == [{"expression": "BSD-3-Clause"}]
    assert all(one["hashes"] for one in components.values())
    script = components["htmx.org"]
    assert script["licenses"] == [{"expression": "0BSD"}]
    assert f"| htmx {script['version']} | 0BSD | `app/console/static/`" in (ROOT / "THIRD_PARTY.md").read_text()
    assert f'version:"{script["version"]}"' in (ROOT / "app/console/static/htmx.min.js").read_text()


CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
_FILE = re.compile(r"`([\w./-]+\.(?:py|md|toml|txt|yaml|lock)|script/\w+)`")
_STEPS = {"How to add a QIDO key": 5, "How to add a rendered format": 5, "How to add a setting": 5}


def test_files_that_contributing_names_are_there() -> None:
    named = {*_FILE.findall(CONTRIBUTING), *re.findall(r"(?:pytest|script)[ /]([\w/]+\.py)", CONTRIBUTING)}
    assert len(named) > 15
    assert [
        name for name in sorted(named) if not (ROOT / name).exists() and not (ROOT / "script" / name).exists()
    ] == []


@pytest.mark.parametrize(("heading", "count"), _STEPS.items())
def test_each_way_to_add_something_has_five_steps_with_a_file_each(heading: str, count: int) -> None:
    section = CONTRIBUTING.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    steps = re.findall(r"^\d\. (.*)", section, re.MULTILINE)
    assert len(steps) == count
    assert all(_FILE.match(step) for step in steps)


HOSTS = [".".join(words) for words in (
    ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("yarnpkg", "com"),
    ("deb", "debian", "org"), ("ftp", "debian", "org"), ("security", "debian", "org"), ("archive", "ubuntu", "com"),
    ("proxy", "golang", "org"), ("crates", "io"), ("rubygems", "org"), ("docker", "io"), ("quay", "io"), ("ghcr", "io"),
    ("pypi", "python", "org"), ("unpkg", "com"), ("jsdelivr", "net"), ("esm", "sh"), ("public", "ecr", "aws"),
    ("gcr", "io"), ("mcr", "microsoft", "com"), ("sum", "golang", "org"), ("snapshot", "debian", "org"),
    ("pkg", "github", "com"), ("maven", "apache", "org"),
    ("anaconda", "org"), ("conda", "io"), ("repo1", "maven", "org"), ("nuget", "org"),
)]  # fmt: skip
"""Of registries of packages and images, in pieces, so that this file names none."""


def found_in_tree(pattern: "re.Pattern[bytes]") -> dict[str, list[bytes]]:
    """What a pattern finds in the files that git knows, lock files and pictures included, by their path."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [ROOT / name for name in tracked.split("\0") if name and (ROOT / name).is_file()]
    assert len(paths) > 500
    found = {str(path.relative_to(ROOT)): pattern.findall(path.read_bytes()) for path in paths}
    return {name: texts for name, texts in found.items() if texts}


@pytest.mark.service
def test_no_registry_is_named_anywhere() -> None:
    """Each tool takes its registry from the configuration of the machine."""
    hosts = "|".join(rf"(?<![\w-]){re.escape(host)}(?![\w-])" for host in HOSTS)
    assert found_in_tree(re.compile(hosts.encode(), re.IGNORECASE)) == {}


@pytest.mark.service
def test_no_folder_of_a_machine_is_named_anywhere() -> None:
    """Neither a home nor the place of a checkout; `/root` is where the home of root is on all machines."""
    homes = rb"/(?:home|Users)/(?!runner\b)[a-z][a-z0-9_-]*|[A-Z]:\\Users|/root/\.\w+"
    ours = re.escape(str(ROOT.parent)).encode() if len(ROOT.parent.parts) > 2 else homes
    assert found_in_tree(re.compile(homes + b"|" + ours)) == {}


def test_the_configuration_of_ohif_is_whole() -> None:
    text = (ROOT / "doc" / "viewers.md").read_text().partition("```js\n")[2].partition("```")[0]
    configuration = json.loads(text.removeprefix("window.config = ").rstrip().removesuffix(";"))
    (source,) = configuration["dataSources"]
    assert source["sourceName"] == configuration["defaultDataSourceName"]
    assert {"routerBasename", "extensions", "modes", "showStudyList"} <= configuration.keys()
    assert source["configuration"]["qidoRoot"] == source["configuration"]["wadoRoot"] == "http://127.0.0.1:8080/aetitle"

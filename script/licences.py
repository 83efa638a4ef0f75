"""The libraries that the image and the one-file build carry, with their licences as the installed metadata tells them.

python script/licences.py table    write the table of THIRD_PARTY.md anew
python script/licences.py sbom     print a software bill of materials (CycloneDX 1.5, JSON)
"""

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.13")
"""Of the one-file build on Debian 12, and of the image."""

_HTMX = ROOT / "app" / "console" / "static" / "htmx.min.js"
_HTMX_VERSION = re.compile(rb'version:"([\d.]+)"')

_SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "Dual License": "Apache-2.0 OR BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "ZPL 2.1": "ZPL-2.1",
}
"""The words of older metadata, and what SPDX calls them."""

_BEGIN, _END = "<!-- begin of the table -->\n", "<!-- end of the table -->\n"
_LOCKED = re.compile(r"^([a-z0-9-]+)==([^ ]+).*?((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)", re.MULTILINE)


@dataclass(frozen=True)
class Library:
    """One distribution. `licence` is an SPDX expression."""

    name: str
    version: str
    licence: str


def plain(name: str) -> str:
    """The name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def libraries() -> list[Library]:
    """The libraries of requirements.txt and all that they need, sorted by name, as installed here."""
    found: dict[str, Library] = {}
    open_ends = [(requirement, frozenset(requirement.extras)) for requirement in _pins()]
    while open_ends:
        requirement, extras = open_ends.pop()
        distribution = metadata.distribution(requirement.name)
        name = plain(distribution.name)
        if name in found and not extras:
            continue
        found[name] = _library(distribution)
        for text in distribution.requires or ():
            needed = Requirement(text)
            if _is_needed(needed, extras):
                open_ends.append((needed, frozenset(needed.extras)))
    return [found[name] for name in sorted(found)]


def _pins() -> Iterator[Requirement]:
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        text = line.partition(" #")[0]
        if text and not text.startswith("#") and _is_needed(pin := Requirement(text), frozenset()):
            yield pin


def _is_needed(requirement: Requirement, extras: frozenset[str]) -> bool:
    """Whether one of the Pythons needs it on Linux."""
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate(
            {
                "python_version": python,
                "python_full_version": f"{python}.0",
                "platform_machine": "x86_64",
                "sys_platform": "linux",
                "extra": extra,
            }
        )
        for python in PYTHONS
        for extra in (extras or {""})
    )


def _library(distribution: metadata.Distribution) -> Library:
    return Library(distribution.name, distribution.version, licence(distribution.metadata))


def licence(about: "metadata.PackageMetadata") -> str:
    """An SPDX expression; ValueError where the metadata says nothing that is known."""
    if expression := about.get("License-Expression"):
        return expression
    classifiers = [text.rpartition(" :: ")[2] for text in about.get_all("Classifier") or () if text[:7] == "License"]
    said = [text for text in (about.get("License"), *classifiers) if text and "\n" not in text]
    if not said:
        raise ValueError(f"the metadata of {about['Name']} tells no licence")
    return _SPDX.get(said[0], said[0])


def table(found: list[Library]) -> str:
    """The rows of THIRD_PARTY.md."""
    rows = [f"| {one.name} | {one.version} | {one.licence} |\n" for one in found]
    return "".join(["| Library | Version | Licence |\n", "|---|---|---|\n", *rows])


def written_table(text: str) -> str:
    """The rows that the text of THIRD_PARTY.md has."""
    return text[text.index(_BEGIN) + len(_BEGIN) : text.index(_END)]


def write_table(path: Path) -> None:
    """Write the table of THIRD_PARTY.md anew."""
    before, _, rest = path.read_text().partition(_BEGIN)
    path.write_text(before + _BEGIN + table(libraries()) + _END + rest.partition(_END)[2])


def locked(text: str) -> Mapping[tuple[str, str], list[str]]:
    """The hashes of each name and version in a lock file."""
    return {
        (name, version): re.findall(r"sha256:([0-9a-f]{64})", hashes) for name, version, hashes in _LOCKED.findall(text)
    }


def sbom(lock: str, version: str) -> dict[str, object]:
    """A CycloneDX document of all wheels in the lock file, and of the script that the console has of others.

    Licences of wheels are those of the libraries installed here.
    """
    licences = {plain(one.name): one.licence for one in libraries()}
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{pin}",
            "name": name,
            "version": pin,
            "purl": f"pkg:pypi/{name}@{pin}",
            "hashes": [{"alg": "SHA-256", "content": sha256} for sha256 in hashes],
            **({"licenses": [{"expression": licences[name]}]} if name in licences else {}),
        }
        for (name, pin), hashes in sorted(locked(lock).items())
    ]
    us = {
        "type": "application",
        "bom-ref": "ahi-dicomweb-proxy",
        "name": "ahi-dicomweb-proxy",
        "version": version,
        "licenses": [{"expression": "Apache-2.0"}],
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": us},
        "components": [*components, _htmx()],
    }


def _htmx() -> dict[str, object]:
    """htmx, as the file that the console serves tells its version."""
    content = _HTMX.read_bytes()
    found = _HTMX_VERSION.search(content)
    if found is None:
        raise ValueError(f"{_HTMX.name} tells no version")
    purl = f"pkg:npm/htmx.org@{found[1].decode()}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": "htmx.org",
        "version": found[1].decode(),
        "purl": purl,
        "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}],
        "licenses": [{"expression": "0BSD"}],
    }


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from app.version import VERSION

    if sys.argv[1:] == ["table"]:
        write_table(ROOT / "THIRD_PARTY.md")
    elif sys.argv[1:] == ["sbom"]:
        sys.stdout.write(json.dumps(sbom((ROOT / "requirements.lock").read_text(), VERSION), indent=2) + "\n")
    else:
        sys.exit(__doc__)

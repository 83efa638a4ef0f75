"""Files in a form that a browser sends without scripts (multipart/form-data, RFC 7578), as a body to store.

Runs in the web processes. The form is on disk already: it is read in ranges, like any other store request.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from dicomweb.errors import BadRequest
from store.outcome import Outcome
from store.receive.body import ReceivedBody
from store.receive.content_type import ContentType
from store.receive.instances import Range
from store.receive.multipart import BodyPart, parse_parts

_LONGEST_FIELD = 4096
_LONGEST_NAME = 255


@dataclass
class FormFiles:
    """The files of a form. `check` gets the other fields before anything is stored, and may refuse the form.

    `names` are the names of the files in the order of their outcomes, when `files` has come to its end.
    """

    boundary: bytes
    check: Callable[[Mapping[str, str]], None]
    names: list[str] = field(default_factory=list)

    def files(self, body: ReceivedBody) -> Iterator[Range | Outcome]:
        """The content of each file; BadRequest if no file was chosen."""
        parts = [(part, _disposition(part)) for part in parse_parts(body.content, self.boundary)]
        self.check(
            {
                disposition.get("name", ""): body.content.read(part.start, part.stop - part.start).decode(
                    "utf-8", "replace"
                )
                for part, disposition in parts
                if "filename" not in disposition and part.stop - part.start <= _LONGEST_FIELD
            }
        )
        for part, disposition in parts:
            name = disposition.get("filename", "")
            if name or ("filename" in disposition and part.stop > part.start):
                self.names.append(name[:_LONGEST_NAME])
                yield part.start, part.stop
        if not self.names:
            raise BadRequest("no file was chosen")


def _disposition(part: BodyPart) -> Mapping[str, str]:
    """The parameters of Content-Disposition, as UTF-8, which browsers write."""
    parameters = ContentType.from_header(f"part/{part.headers.get('content-disposition', '')}").parameters
    return {name: value.encode("latin-1", "replace").decode("utf-8", "replace") for name, value in parameters.items()}

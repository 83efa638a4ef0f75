"""A request as it comes in: its head is checked before waitress reads it, and a request that is refused ends there."""

from collections.abc import Callable
from typing import Any

from app.server.refusals import Refusal, origin_in
from app.server.request_head import HeadBuffer, HeadError, checked
from app.server.waitress_adapter import BaseRequest, MalformedUrl


class RequestParser(BaseRequest):
    """One request. waitress sees its head when `app.server.request_head` has found it in order.

    `begun` are the bytes of a streamed body that came in with the head.
    """

    is_body_streamed: Callable[[str, str], bool] = staticmethod(lambda _method, _path: False)
    """Whether the application reads the body of a request with this method and path from the socket."""

    def __init__(self, adjustments: Any) -> None:
        super().__init__(adjustments)
        self._head = HeadBuffer(self.max_head_bytes)
        self.begun = b""

    def received(self, data: bytes) -> int:
        """Take bytes of the request; the number of bytes that were taken."""
        if self.completed:
            return 0
        if self.headers_finished:
            return self.read_body(data)
        try:
            taken = self._head.received(data)
            if self._head.complete:
                self.read_head(checked(bytes(self._head)))
                if self.is_body_streamed(self.command, self.path):
                    self.leave_body()
        except HeadError as error:
            self._refuse(Refusal(error.status, error.detail))
        except MalformedUrl:
            self._refuse(Refusal(400, "the URL of the request is none"))
        else:
            if not self.is_streamed:
                return taken
            self.begun = data[taken:]
        return len(data)  # the application reads the rest, or nothing of this connection is read any more

    def give_up(self) -> None:
        """End the request, which is answered 408 (RFC 9110)."""
        refusal = Refusal(408, "the request did not come to its end")
        if self.headers_finished:
            self.end_in_body(refusal)
        else:
            self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        """End the request within its head. Its URL is not known, but the origin of the web page may be."""
        origin = origin_in(bytes(self._head))
        self.end_in_head(refusal, {"ORIGIN": origin} if origin else {})

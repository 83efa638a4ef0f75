"""A request as the queue and the pool of threads see it."""

from collections.abc import Callable


class Request:
    """A request of a client, which lasts until it is let go."""

    def __init__(self, client: str, work: Callable[[], object] = lambda: None) -> None:
        self.client = client
        self.work = work
        self.status: int | None = None

    def service(self) -> None:
        self.work()

    def cancel(self) -> None:
        self.status = 0

    def refuse(self, status: int) -> None:
        self.status = status

    def __repr__(self) -> str:
        return self.client

"""One FrameFetcher process: questions come in over its socket, threads do the jobs, answers go to all who asked.

The loop owns the desk and all connections; jobs run on a bounded number of threads, which also is how many calls to AHI
there are at the same time. A connection that closes takes its question with it.
"""

import asyncio
import logging
import socket
from concurrent.futures import ThreadPoolExecutor

from ahi.counters import Count
from ahi.desk import Desk, Limits, Prefetch, Question, Request, Ticket
from ahi.fetchers import Workshop
from ahi.wire import Unpacker, packed
from dicomweb.errors import ProxyError, UpstreamBusy
from dicomweb.timing import Part, start_timing

log = logging.getLogger(__name__)

_BUSY = packed((UpstreamBusy("the service has more to do than it can at the moment", retry_after_seconds=2), ()))


def serve(listening: socket.socket, workshop: Workshop, limits: Limits) -> None:
    """The life of a fetcher: answer every connection until the process ends."""
    asyncio.run(_serve(listening, workshop, limits))


async def _serve(listening: socket.socket, workshop: Workshop, limits: Limits) -> None:
    listening.setblocking(False)
    bench = Bench(workshop, limits)
    server = await asyncio.get_running_loop().create_unix_server(lambda: _Conversation(bench), sock=listening)
    async with server:
        await server.serve_forever()


class Bench:
    """The desk and the threads. All methods are called in the loop."""

    def __init__(self, workshop: Workshop, limits: Limits) -> None:
        self._workshop = workshop
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(limits.threads, "job")
        self._desk = Desk(limits)
        self._tally = workshop.cache.tally

    def receive(self, message: Question | Prefetch, conversation: "_Conversation") -> None:
        """A message from a web process."""
        match message:
            case Prefetch():
                self._desk.prefetch(message)
            case Question(request):
                if not self._desk.ask(message, conversation):
                    self._tally.add(Count.JOBS_REFUSED)
                    conversation.answer(_BUSY)
                    return
                conversation.asked = request
        self._begin()

    def lost(self, request: Request, conversation: "_Conversation") -> None:
        """A connection closed while its question was open."""
        self._desk.leave(request, conversation)

    def _begin(self) -> None:
        while ticket := self._desk.take():
            if self._desk.late(ticket):
                self._tally.add(Count.JOBS_REFUSED)
                self._answer(ticket, _BUSY)
            else:
                self._tally.add(Count.PREFETCHES, ticket.urgency is None)
                self._threads.submit(self._work, ticket)
        self._tally.set(Count.JOBS_QUEUED, self._desk.queued)
        self._tally.set(Count.JOBS_RUNNING, self._desk.running)

    def _work(self, ticket: Ticket) -> None:
        """On a thread: do the job, and have the loop send what came of it."""
        parts: list[Part] = []
        timing = start_timing()
        timing.tell, timing.traceparent = parts.append, ticket.traceparent
        answer = packed((_outcome(ticket.request, self._workshop), tuple(parts)))
        self._loop.call_soon_threadsafe(self._finished, ticket, answer)

    def _finished(self, ticket: Ticket, answer: bytes) -> None:
        self._tally.add(Count.JOBS_DONE)
        self._answer(ticket, answer)
        self._begin()

    def _answer(self, ticket: Ticket, answer: bytes) -> None:
        for conversation in self._desk.done(ticket):
            conversation.answer(answer)


class _Conversation(asyncio.Protocol):
    """One connection: a question at a time, or prefetches, which have no answer."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._unpacker = Unpacker()
        self._transport: asyncio.Transport | None = None
        self.asked: Request | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a stream socket it is one
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for message in self._unpacker.feed(data):
            self._bench.receive(message, self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.asked:
            self._bench.lost(self.asked, self)

    def answer(self, content: bytes) -> None:
        """Send an answer, if anybody is still there."""
        self.asked = None
        if self._transport and not self._transport.is_closing():
            self._transport.write(content)


def _outcome(request: Request, workshop: Workshop) -> object:
    """The result of a job, or its error as a value to send back."""
    try:
        return request.job(workshop, *request.arguments)
    except ProxyError as error:
        return error
    except Exception:  # the outermost frame of a job: the log has the traceback, the web process an error to raise
        log.exception("job failed job=%s", request.job.__name__)
        return RuntimeError("a job failed in its fetcher; the log says why")

"""The start of the service: settings are checked, sockets opened, processes forked. Runs in the supervisor."""

import logging
import resource
import socket
from dataclasses import replace

from ahi.client.configuration import configuration_error
from app.audit.configure import announce, check_audit
from app.audit.event import EventKind
from app.auth.configure import open_gate
from app.processes.children import (
    Shared,
    fetcher_children,
    forwarder_child,
    metrics_child,
    prefetch_child,
    web_children,
)
from app.processes.resources import bind_metrics, lock_spool, open_cache, prepare_store_index, try_index
from app.processes.supervisor import Supervisor
from app.settings import Settings, SettingsError
from db.login import Login
from runtime.outage import Outage

log = logging.getLogger(__name__)

_BACKLOG = 1024
_MAX_FILES = 65_536  # connections, and files that are being sent


def start(supervisor: Supervisor, settings: Settings, index: Login, listening: socket.socket) -> Shared:
    """Fork the processes of the service. The shared sockets are the caller's to remove when all has ended."""
    open_cache(settings)
    check_audit(settings)
    if wrong := configuration_error(settings.aws_default_region or ""):
        raise SettingsError(wrong)
    if not open_gate(settings).authenticators and not settings.on_loopback:
        log.warning("AUTH is none and HOST %s: whoever reaches the service sees all of it", settings.host)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most_files, _MAX_FILES), most_files))
    listening.listen(_BACKLOG)
    listening.setblocking(False)  # of several that wake for one connection, all but one find none
    metrics_socket = bind_metrics(settings)
    index_outage = Outage("index")
    try_index(settings, index, index_outage)
    spool_lock = lock_spool(settings)
    if settings.store:
        prepare_store_index(settings)
    shared = replace(Shared.of(settings, listening, index_outage, supervisor.replacements), spool_lock=spool_lock)
    for child in fetcher_children(settings, shared):
        log.info("[Startup] - Forking FrameFetcher %s", child.name)
        supervisor.start(child)
    for child in web_children(settings, index, shared):
        supervisor.start(child)
    supervisor.start(prefetch_child(settings, index, shared))
    if settings.store:
        supervisor.start(forwarder_child(settings, index, shared))
    if metrics_socket:
        supervisor.start(metrics_child(metrics_socket, settings, shared))
    supervisor.growth.max_bytes = settings.memory_max
    announce(settings, EventKind.START)
    log.info("QIDO/WADO-RS service started.")
    log.info("Serving on http://%s:%d", f"[{settings.host}]" if ":" in settings.host else settings.host, settings.port)
    return shared


def stopped(settings: Settings) -> None:
    """Tell the audit trail that the service has ended; call it when all processes have ended."""
    announce(settings, EventKind.STOP)

"""The services of a process without index and fetchers, to test one installer in an application of its own."""

from typing import Any

from ahi.workers.pool import FetcherPool
from app.services import Services
from app.settings import Settings
from db.engine import Database


def bare_services(**settings: Any) -> Services:
    """Services with these settings; nothing connects to anything."""
    return Services.of(Settings(**settings), Database("sqlite://"), FetcherPool([]))

"""Reload on SIGHUP: the settings, and the files that they name, are read again while the service runs.

Web processes with the new settings take over the listening socket, and the old ones leave when they have answered. If
the index is elsewhere now, the prefetch process is replaced, too; the new one gets the tasks that remain.
"""

import logging
import os
from dataclasses import replace

from app.audit.configure import check_audit
from app.auth.configure import open_gate
from app.processes.children import Shared, prefetch_child, web_children
from app.processes.resources import find_index, find_trust
from app.processes.sd_notify import READY, RELOADING, notify
from app.processes.supervisor import Supervisor
from app.settings import Settings, SettingsError
from db.login import Login

log = logging.getLogger(__name__)

NEED_RESTART = frozenset(
    ("host", "port", "web_processes", "frame_fetchers", "fetch_threads", "prefetch", "ahi_deadline_seconds")
    + (
        "image_set_fresh_seconds",
        "image_set_unchecked_seconds",
        "verify_frames",
        "aws_default_region",
        "cache_root",
        "cache_max_bytes",
        "cache_min_free_bytes",
    )
    + ("metrics_port", "metrics_host", "log_format", "settings_file", "datastore_root", "datastore_faults")
    + ("store", "store_wait_seconds", "ahi_stow_endpoint", "ahi_stow_digest", "spool_root", "spool_shared")
    + ("spool_min_free_bytes",)
    + ("datastore_clean_index", "datastore_populate_instances", "embedded", "rate_limit", "rate_limit_burst")
)
"""Settings that need a restart: other processes than web processes use them, or they are those of a socket."""


class Reload:
    """The action of SIGHUP: new web processes with the current settings replace the old ones, or all stays.

    `settings` are the ones in force.
    """

    def __init__(self, supervisor: Supervisor, settings: Settings, index: Login, shared: Shared) -> None:
        self._supervisor = supervisor
        self.settings = settings
        self._where = (index.url, find_trust(settings))
        self._shared = shared

    def __call__(self) -> None:
        """Read the settings again. If one is wrong, everything stays as it is."""
        notify(RELOADING)
        try:
            settings = self._kept(Settings.from_env(os.environ))
            open_gate(settings)
            trust = find_trust(settings)
            check_audit(settings)
            index = find_index(settings)
        except SettingsError as error:
            log.error("[Reload] - the old settings stay: %s", "; ".join(str(error).splitlines()))
        except Exception:  # a mistake of ours is no reason to end the service
            log.exception("[Reload] - the old settings stay")
        else:
            logging.getLogger().setLevel(settings.log_level)
            self.settings = settings
            children = web_children(settings, index, self._shared)
            if (index.url, trust) != self._where:
                self._where = (index.url, trust)
                children.append(prefetch_child(settings, index, self._shared))
            self._supervisor.renew(children)
            self._supervisor.growth.max_bytes = settings.memory_max
            log.info("[Reload] - new web processes take over, the old ones finish what they are answering")
        notify(READY)

    def _kept(self, settings: Settings) -> Settings:
        """The new settings, but the old ones where a restart is needed; SettingsError if they contradict each other."""
        if not settings.names_index:  # what runs on it says where its index is
            raise SettingsError(
                "neither DB_SECRET_ARN nor DATABASE_URL is set: a restart takes the embedded data store"
            )
        kept = {name: getattr(self.settings, name) for name in NEED_RESTART}
        changed = [name.upper() for name, value in sorted(kept.items()) if value != getattr(settings, name)]
        if changed:
            log.warning("[Reload] - a restart is needed for %s", ", ".join(changed))
        mixed = replace(settings, **kept)
        if mixed.contradictions:
            raise SettingsError("\n".join(mixed.contradictions))
        return mixed

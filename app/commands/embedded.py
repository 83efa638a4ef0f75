"""The embedded data store, as the settings describe it."""

import logging
import os

from app.settings import STRANGERS_STORE, Settings, SettingsError
from datastore.embedded import Embedded
from datastore.serving.faults import parse_faults
from store.spool.layout import Layout, SpoolInUse, SpoolLock

log = logging.getLogger(__name__)

_LOCK_SECONDS = 0.5  # a service that is ending needs it no longer


def open_embedded(settings: Settings) -> Embedded:
    """The embedded data store; SettingsError if its folder cannot be made, or DATASTORE_FAULTS is wrong."""
    try:
        parse_faults(settings.datastore_faults or "")
    except ValueError as error:
        raise SettingsError(f"DATASTORE_FAULTS is {error}") from error
    try:
        return Embedded(
            settings.datastore_root,
            clean_index=settings.datastore_clean_index,
            populate_instances=settings.datastore_populate_instances,
            frame_bytes=settings.frame_max_bytes,
        )
    except OSError as error:
        raise SettingsError(f"DATASTORE_ROOT {settings.datastore_root}: {error.strerror}") from error


def with_defaults(embedded: Embedded) -> Settings:
    """The settings of the environment; the embedded data store sets those that the environment leaves out."""
    for name, value in embedded.defaults().items():
        if not os.environ.get(name, "").strip():
            os.environ[name] = value
    settings = Settings.from_env(os.environ)
    if settings.lets_strangers_store:
        raise SettingsError(STRANGERS_STORE)
    return settings


def may_store(embedded: Embedded, settings: Settings) -> bool:
    """Whether a service in front of the data store takes in what clients store, if STORE does not say.

    Nobody but this machine may reach it, and no other service may use the spool.
    """
    if not (embedded.can_store and settings.serves_this_machine_alone):
        return False
    layout = Layout(settings.spool_root)
    try:
        layout.make()
        SpoolLock(layout, _LOCK_SECONDS).close()
    except OSError:
        return False
    except SpoolInUse:
        log.warning("another service stores into DATASTORE_ROOT, so this one only reads")
        return False
    return True

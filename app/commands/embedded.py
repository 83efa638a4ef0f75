"""The embedded data store, as the settings describe it."""

import os

from app.settings import STRANGERS_STORE, Settings, SettingsError
from datastore.embedded import Embedded
from datastore.serving.faults import parse_faults


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

"""The paths below which all resources are found, and the names of the blueprints there. Runs in the web processes."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.ae_titles import DEFAULT, AeTitle
from app.auth import links
from app.settings import Settings
from db.scope import EVERYTHING, Scope


@dataclass(frozen=True)
class ServiceRoot:
    """A path with all resources below it.

    `path` is a URL rule, `scope` is the part of the archive that is visible there. `ae_title` is "" for share links.
    Instances are stored to the data store `store_datastore_id`, None if nothing is stored there.
    """

    path: str
    scope: Scope
    ae_title: str = ""
    store_datastore_id: str | None = None


def service_roots(
    ae_titles: Sequence[AeTitle], *, dcm4chee_paths: bool, store_datastore_id: str | None = None
) -> list[ServiceRoot]:
    """The roots of all AE titles; the root of the default AE title is the first.

    The default AE title shows everything, unless it is redefined. With `dcm4chee_paths` each AE title has a second
    root, at the path that dcm4chee uses. Instances go to `store_datastore_id` if their AE title names none.
    """
    by_name = {title.name: title for title in (AeTitle(DEFAULT, EVERYTHING), *ae_titles)}
    rules = ("/{}", "/dcm4chee-arc/aets/{}/rs") if dcm4chee_paths else ("/{}",)
    return [
        ServiceRoot(rule.format(name), title.scope, name, title.target(store_datastore_id))
        for rule in rules
        for name, title in by_name.items()
    ]


def all_roots(settings: Settings) -> tuple[ServiceRoot, ...]:
    """The roots of all AE titles, then the root of share links."""
    roots = service_roots(
        settings.ae_titles, dcm4chee_paths=settings.dcm4chee_paths, store_datastore_id=settings.store_datastore_id
    )
    return (*roots, ServiceRoot(links.PATH, roots[0].scope))


ANY_ROOT = "any"


def registered_name(blueprint: str, root_index: int) -> str:
    """The name of a blueprint below one of several roots: `qido` below the first, `qido@1` below the second."""
    return f"{blueprint}@{root_index}" if root_index else blueprint


def name_without_root(blueprint: str) -> str:
    """The name of a blueprint that is below no root: the gate chooses the root of each request."""
    return f"{blueprint}@{ANY_ROOT}"


def blueprint_name(registered: str) -> str:
    """The name of the blueprint without its root."""
    return registered.partition("@")[0]


def root_index(registered: str) -> int | None:
    """The index of the root below which a blueprint is registered, from 0; None if it is below no root."""
    index = registered.partition("@")[2]
    return None if index == ANY_ROOT else int(index or 0)

"""What a caller with the right `operate` may see and do on the pages for those who run the service, by the API's rules.

An operator of some AE titles sees and changes the jobs of these alone. Of a study whose data the caller may not see,
the pages tell nothing. Runs in the web processes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from flask import g

from app.auth.rights import Grant, Right
from app.service_roots import ServiceRoot
from app.services import Services
from db.scope import EVERYTHING, Scope
from db.studies import find_known_studies


@dataclass(frozen=True)
class SeenStudies:
    """Studies that the caller may see: the path of the service root below which each one is, "" if the index lacks it.

    A study that is missing here is hidden.
    """

    paths: Mapping[str, str]

    def shown(self, uids: Collection[str]) -> list[tuple[str, str]]:
        """Those of some studies that may be named, with their paths."""
        return [(uid, self.paths[uid]) for uid in uids if uid in self.paths]


class OperatorReach:
    """What the caller of the current request operates: AE titles and data stores; and the studies that they may see."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._roots = {root.ae_title: root for root in reversed(services.roots) if root.ae_title}

    @cached_property
    def ae_titles(self) -> frozenset[str] | None:
        """The AE titles; None for all, also those that the service had before."""
        chosen = frozenset(g.ae_titles)
        return None if chosen >= self._roots.keys() else chosen

    def has_ae_title(self, name: str) -> bool:
        """Whether the caller operates what came to an AE title."""
        return self.ae_titles is None or name in self.ae_titles

    def has_datastores(self, datastore_ids: Collection[str]) -> bool:
        """Whether the caller operates all of these data stores."""
        if self.ae_titles is None and g.grant.scope.datastore_ids is None:
            return True
        scopes = [root.scope & grant.scope for root, grant in self._grants]
        return all(any(scope.has_datastore(one) for scope in scopes) for one in datastore_ids)

    def seen(self, uids: Collection[str]) -> SeenStudies:
        """Those of some studies that the caller may see; errors are those of `Database.rows`.

        The index says it. A caller who may see everything may see any.
        """
        left, paths = frozenset(uids), dict[str, str]()
        hidden = self._services.deleted_rows.scope() if left else EVERYTHING
        for scope, path in self._readable.items():
            known = find_known_studies(self._services.index, left, scope & hidden)
            paths |= dict.fromkeys(known, path)
            left -= known
        if EVERYTHING in self._readable:
            paths |= dict.fromkeys(left, "")
        return SeenStudies(paths)

    @cached_property
    def _grants(self) -> list[tuple[ServiceRoot, Grant]]:
        """The roots that the caller operates, and the grant of the caller below each."""
        gate = self._services.gate
        return [(self._roots[name], gate.grant(g.principal, name)) for name in g.ae_titles]

    @cached_property
    def _readable(self) -> dict[Scope, str]:
        """What the caller may read, each scope once, with the path of a root that has it."""
        found: dict[Scope, str] = {}
        for root, grant in self._grants:
            if Right.READ in grant.rights:
                found.setdefault(root.scope & grant.scope, root.path)
        return found

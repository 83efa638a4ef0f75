"""Who may see what, as the service understands it: AE titles and access rules as rows of the page Access.

Runs in the web processes. Values of filters may name patients, so a reader who may not see everything gets none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.auth.access_rules import AccessRule
from app.service_roots import ServiceRoot
from db.scope import EVERYTHING, RowCondition, Scope
from qido.image_sets.row_filters import AttributeFilter
from qido.parse.conditions import Between, Empty, Equal, Fuzzy, Like, Match

HIDDEN = "…"
"""Stands for the values of a filter that the reader may not see."""


@dataclass(frozen=True)
class ScopeRow:
    """A part of the archive: its data stores, None for all, and its filters as keywords with their values."""

    datastores: tuple[str, ...] | None
    filters: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, scope: Scope, reader: Scope) -> "ScopeRow":
        """The row of a scope, for a reader."""
        ids = scope.datastore_ids
        shown = reader == EVERYTHING
        return cls(
            None if ids is None else tuple(sorted(ids)), tuple(_filter(one, shown=shown) for one in scope.filters)
        )


@dataclass(frozen=True)
class AeTitleRow:
    """An AE title: what is seen below it, and the data store for what is stored, None for none."""

    name: str
    scope: ScopeRow
    store: str | None


@dataclass(frozen=True)
class RuleRow:
    """An access rule. `user` and `group` are None if any fits, `ae_titles` None for all of them."""

    number: int
    user: str | None
    group: str | None
    claims: tuple[tuple[str, str], ...]
    ae_titles: tuple[str, ...] | None
    scope: ScopeRow
    rights: tuple[str, ...]


def ae_title_rows(roots: Iterable[ServiceRoot], reader: Scope) -> list[AeTitleRow]:
    """A row for each AE title."""
    by_name = {root.ae_title: root for root in reversed(list(roots)) if root.ae_title}
    return [
        AeTitleRow(name, ScopeRow.of(root.scope, reader), root.store_datastore_id)
        for name, root in reversed(by_name.items())
    ]


def rule_rows(rules: Sequence[AccessRule], reader: Scope) -> list[RuleRow]:
    """A row for each rule, in their order."""
    return [
        RuleRow(
            number,
            rule.user,
            rule.group,
            tuple((claim, str(value)) for claim, value in rule.claims),
            None if rule.ae_titles is None else tuple(sorted(rule.ae_titles)),
            ScopeRow.of(rule.scope, reader),
            tuple(sorted(right.value for right in rule.rights)),
        )
        for number, rule in enumerate(rules, 1)
    ]


def _filter(condition: RowCondition, *, shown: bool) -> tuple[str, str]:
    if not isinstance(condition, AttributeFilter):
        return condition.tag, HIDDEN
    values = " | ".join(map(_text, condition.matches)) if shown else HIDDEN
    return condition.attribute.keyword, values


def _text(match: Match) -> str:
    match match:
        case Equal(value):
            return str(value)
        case Like(text) | Fuzzy(text):
            return text
        case Between(first, last):
            return "-".join("" if end is None else end.isoformat() for end in (first, last))
        case Empty():
            return '""'

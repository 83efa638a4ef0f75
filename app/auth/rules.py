"""From who calls to what they may see: the first rule that fits decides; where none does, nothing may be seen.

[{"group": "radiology"},
 {"group": "research", "ae_titles": ["research"], "filter": {"Modality": "MR"}},
 {"claim": {"department": "dental"}, "datastores": ["0123456789abcdef0123456789abcdef"]},
 {"name": "trial-42", "studies": ["1.2.840.1"]}]
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.ae_titles import parse_scope
from app.auth.principal import Principal
from db.scope import EVERYTHING, Scope
from dicomweb.errors import Forbidden

_WHO = frozenset({"name", "group", "claim"})
_WHAT = frozenset({"ae_titles", "datastores", "filter", "studies"})


@dataclass(frozen=True)
class Rule:
    """Whom it fits, None for anyone; which AE titles they may use, None for all; and what they see there."""

    name: str | None
    group: str | None
    claims: tuple[tuple[str, Any], ...]
    ae_titles: frozenset[str] | None
    scope: Scope

    def fits(self, principal: Principal) -> bool:
        """Whether all that the rule says of who calls holds."""
        return (
            self.name in (None, principal.name)
            and (self.group is None or self.group in principal.groups)
            and all(_claimed(principal.claims.get(claim), value) for claim, value in self.claims)
        )


def _claimed(claimed: Any, value: Any) -> bool:
    return claimed == value or (isinstance(claimed, list) and value in claimed)


def scope_of(rules: Sequence[Rule] | None, principal: Principal, ae_title: str) -> Scope:
    """What the principal may see below an AE title; Forbidden where that is nothing. Without rules, all."""
    if rules is None:
        return EVERYTHING
    rule = next((rule for rule in rules if rule.fits(principal)), None)
    if rule is None or (rule.ae_titles is not None and ae_title not in rule.ae_titles):
        raise Forbidden("you are known, but nothing here is for you")
    return rule.scope


def parse_rules(path: Path) -> tuple[Rule, ...]:
    """The rules of a file; ValueError says in one line what is wrong."""
    text = path.read_text("utf-8")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):  # the latter where it is nested thousands of times
        raise ValueError(f"{path} is not JSON") from None
    if not isinstance(document, list):
        raise ValueError(f"{path} is not a list of rules")
    return tuple(_rule(number, members) for number, members in enumerate(document, 1))


def _rule(number: int, members: Any) -> Rule:
    if not isinstance(members, Mapping) or not members.keys() <= _WHO | _WHAT:
        raise ValueError(f"rule {number} has other members than {', '.join(sorted(_WHO | _WHAT))}")
    claims = members.get("claim", {})
    ae_titles = members.get("ae_titles")
    if not all(isinstance(members.get(name, {}), Mapping) for name in ("claim", "filter")):
        raise ValueError(f"rule {number}: claim and filter are objects")
    if not isinstance(ae_titles, list | None):
        raise ValueError(f"rule {number}: ae_titles is a list")
    texts = [members.get("name", ""), members.get("group", ""), *(ae_titles or [])]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"rule {number}: name, group and AE titles are texts")
    what = {name: members[name] for name in ("datastores", "filter") if name in members}
    if "studies" in members:
        what["filter"] = {**what.get("filter", {}), "StudyInstanceUID": members["studies"]}
    return Rule(
        members.get("name"),
        members.get("group"),
        tuple(claims.items()),
        None if ae_titles is None else frozenset(ae_titles),
        parse_scope(f"rule {number}", what),
    )

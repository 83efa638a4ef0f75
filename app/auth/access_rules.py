"""From who calls to what they may see: the first rule that fits decides; where none does, nothing may be seen.

[{"group": "radiology"},
 {"group": "research", "ae_titles": ["research"], "filter": {"Modality": "MR"}},
 {"claim": {"department": "dental"}, "datastores": ["0123456789abcdef0123456789abcdef"]},
 {"name": "bearer:trial-42", "studies": ["1.2.840.1"]}]

A name says which way of AUTH vouches for it; where AUTH has one way alone, it may be left out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.ae_titles import parse_scope
from app.auth.principal import Principal
from app.setting_parsers import AUTH_WAYS
from db.scope import EVERYTHING, Scope
from dicomweb.errors import Forbidden

_WHO = frozenset({"name", "group", "claim"})
_WHAT = frozenset({"ae_titles", "datastores", "filter", "studies"})


@dataclass(frozen=True)
class AccessRule:
    """Whom it fits, None for anyone; which AE titles they may use, None for all; and what they see there.

    `user` is the name with the way of AUTH that vouches for it.
    """

    user: str | None
    group: str | None
    claims: tuple[tuple[str, Any], ...]
    ae_titles: frozenset[str] | None
    scope: Scope

    def fits(self, principal: Principal) -> bool:
        """Whether all that the rule says of who calls holds."""
        return (
            self.user in (None, principal.user)
            and (self.group is None or self.group in principal.groups)
            and all(_claimed(principal.claims.get(claim), value) for claim, value in self.claims)
        )


def _claimed(claimed: Any, value: Any) -> bool:
    return claimed == value or (isinstance(claimed, list) and value in claimed)


def scope_of(rules: Sequence[AccessRule] | None, principal: Principal, ae_title: str) -> Scope:
    """What the principal may see below an AE title; Forbidden where that is nothing. Without rules, all."""
    if rules is None:
        return EVERYTHING
    rule = next((rule for rule in rules if rule.fits(principal)), None)
    if rule is None or (rule.ae_titles is not None and ae_title not in rule.ae_titles):
        raise Forbidden("you are known, but nothing here is for you")
    return rule.scope


def parse_access_rules(path: Path, ways: Sequence[str]) -> tuple[AccessRule, ...]:
    """The rules of a file, for these ways of AUTH; ValueError says in one line what is wrong."""
    text = path.read_text("utf-8")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):  # the latter where it is nested thousands of times
        raise ValueError(f"{path} is not JSON") from None
    if not isinstance(document, list):
        raise ValueError(f"{path} is not a list of rules")
    return tuple(_rule(number, members, ways) for number, members in enumerate(document, 1))


def _rule(number: int, members: Any, ways: Sequence[str]) -> AccessRule:
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
    return AccessRule(
        _user(number, members["name"], ways) if "name" in members else None,
        members.get("group"),
        tuple(claims.items()),
        None if ae_titles is None else frozenset(ae_titles),
        parse_scope(f"rule {number}", what),
    )


def _user(number: int, name: str, ways: Sequence[str]) -> str:
    """The name with its way; ValueError where it is not told, or nobody is asked by it."""
    way, colon, rest = name.partition(":")
    if colon and way in AUTH_WAYS:
        if way not in ways:
            raise ValueError(f"rule {number}: its name is of {way}, but AUTH has no {way}: it would fit nobody")
        return f"{way}:{rest}"
    if len(set(ways)) > 1:
        forms = " or ".join(f"{way}:NAME" for way in dict.fromkeys(ways))
        raise ValueError(f"rule {number}: AUTH has several ways, so that a name must say whose it is: write {forms}")
    return f"{ways[0]}:{name}" if ways else name

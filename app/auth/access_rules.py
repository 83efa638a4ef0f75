"""Access rules: from a principal to a grant. The first rule that fits decides; without one nothing is allowed.

[{"group": "radiology", "rights": ["read", "store"]},
 {"group": "research", "ae_titles": ["research"], "filter": {"Modality": "MR"}},
 {"claim": {"department": "dental"}, "datastores": ["0123456789abcdef0123456789abcdef"]},
 {"name": "bearer:trial-42", "studies": ["1.2.840.1"]}]

Without `rights`, a rule allows reading. A name begins with the way of AUTH that vouches for it. The way may be left out
if AUTH has only one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.ae_titles import parse_scope
from app.auth.principal import Principal
from app.auth.rights import READING, Grant, Right
from app.setting_parsers import AUTH_WAYS
from db.scope import EVERYTHING, Scope
from dicomweb.errors import Forbidden

_CALLER_MEMBERS = frozenset({"name", "group", "claim"})
_SCOPE_MEMBERS = frozenset({"ae_titles", "datastores", "filter", "studies"})
_MEMBERS = _CALLER_MEMBERS | _SCOPE_MEMBERS | {"rights"}


@dataclass(frozen=True)
class AccessRule:
    """One rule: the callers it fits, and what it allows them.

    `user` is a name with the way of AUTH that vouches for it. `user` and `group` are None if any fits. `ae_titles` are
    the AE titles that the callers may use, None for all.
    """

    user: str | None
    group: str | None
    claims: tuple[tuple[str, Any], ...]
    ae_titles: frozenset[str] | None
    scope: Scope
    rights: frozenset[Right] = READING

    def fits(self, principal: Principal) -> bool:
        """Whether the user, the group and all claims of the rule are those of the principal."""
        return (
            self.user in (None, principal.user)
            and (self.group is None or self.group in principal.groups)
            and all(_has_value(principal.claims.get(claim), value) for claim, value in self.claims)
        )


def _has_value(claim: Any, value: Any) -> bool:
    return claim == value or (isinstance(claim, list) and value in claim)


def grant_of(rules: Sequence[AccessRule] | None, principal: Principal, ae_title: str) -> Grant:
    """The grant of a principal below an AE title. Without rules, it is to read everything.

    Forbidden if no rule gives access.
    """
    if rules is None:
        return Grant(EVERYTHING, READING)
    rule = next((rule for rule in rules if rule.fits(principal)), None)
    if rule is None or (rule.ae_titles is not None and ae_title not in rule.ae_titles):
        raise Forbidden("you have no access to this")
    return Grant(rule.scope, rule.rights)


def parse_access_rules(path: Path, ways: Sequence[str]) -> tuple[AccessRule, ...]:
    """Parse a file of rules, for these ways of AUTH; ValueError says in one line what is wrong."""
    text = path.read_text("utf-8")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):  # the latter for JSON that is nested thousands of times
        raise ValueError(f"{path} is not JSON") from None
    if not isinstance(document, list):
        raise ValueError(f"{path} is not a list of rules")
    return tuple(_rule(number, members, ways) for number, members in enumerate(document, 1))


def _rule(number: int, members: Any, ways: Sequence[str]) -> AccessRule:
    if not isinstance(members, Mapping) or not members.keys() <= _MEMBERS:
        raise ValueError(f"rule {number} has other members than {', '.join(sorted(_MEMBERS))}")
    claims = members.get("claim", {})
    ae_titles = members.get("ae_titles")
    if not all(isinstance(members.get(name, {}), Mapping) for name in ("claim", "filter")):
        raise ValueError(f"rule {number}: claim and filter are objects")
    if not isinstance(ae_titles, list | None):
        raise ValueError(f"rule {number}: ae_titles is a list")
    texts = [members.get("name", ""), members.get("group", ""), *(ae_titles or [])]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"rule {number}: name, group and AE titles are texts")
    scope = {name: members[name] for name in ("datastores", "filter") if name in members}
    if "studies" in members:
        scope["filter"] = {**scope.get("filter", {}), "StudyInstanceUID": members["studies"]}
    return AccessRule(
        _user(number, members["name"], ways) if "name" in members else None,
        members.get("group"),
        tuple(claims.items()),
        None if ae_titles is None else frozenset(ae_titles),
        parse_scope(f"rule {number}", scope),
        _rights(number, members["rights"]) if "rights" in members else READING,
    )


def _rights(number: int, words: Any) -> frozenset[Right]:
    known = {right.value: right for right in Right}
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word in known for word in words):
        raise ValueError(f"rule {number}: rights is a list of one or more of the words {', '.join(known)}")
    return frozenset(known[word] for word in words)


def _user(number: int, name: str, ways: Sequence[str]) -> str:
    """The name with its way; ValueError if the way is missing, or is not in AUTH."""
    way, colon, bare_name = name.partition(":")
    if colon and way in AUTH_WAYS:
        if way not in ways:
            raise ValueError(f"rule {number}: its name is of {way}, but AUTH has no {way}: it would fit nobody")
        return f"{way}:{bare_name}"
    if len(set(ways)) > 1:
        forms = " or ".join(f"{way}:NAME" for way in dict.fromkeys(ways))
        raise ValueError(f"rule {number}: AUTH has several ways, so that a name must say whose it is: write {forms}")
    return f"{ways[0]}:{name}" if ways else name

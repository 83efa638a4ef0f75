"""Users and tokens as rows of the page Access, and their making and removal. Runs in the web processes.

An operator gives nobody more than they have themselves, and is asked before the last operator is removed.
"""

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

from app.auth.basic import LONGEST_PASSWORD_BYTES, Basic, new_line, parse_users
from app.auth.bearer import Bearer, is_over, is_token, new_token, parse_tokens
from app.auth.gate import Gate
from app.auth.login_editor import Lines, edit, obstacle
from app.auth.login_file import LoginFile
from app.auth.principal import Principal
from app.auth.rights import Right
from app.services import Services
from db.scope import EVERYTHING, Scope
from dicomweb.errors import BadRequest, Conflict, Forbidden, NotFound

USER, TOKEN = "user", "token"
TOKEN_DAYS = (0, 30, 90, 365)
"""The choices for the end of a token, in days; 0 for none."""

SHORTEST_PASSWORD = 12
_LONGEST_NAME = 64
_GENERATED_BYTES = 15
_NAME = re.compile(r"[^\s:#][^:]*\Z")
_ELSEWHERE = ("oidc", "alb")
"""Ways whose users are not in a file: any of them may fit a rule."""


@dataclass(frozen=True)
class LoginRow:
    """A user or a token. `key` names it in forms: the name, or the mark of the token.

    `rights` has the rights by the AE titles where they count; it is empty if no rule fits. `is_reader` tells that it is
    the one who looks at the page.
    """

    key: str
    name: str
    groups: tuple[str, ...]
    rights: Mapping[str, tuple[str, ...]]
    until: date | None
    is_over: bool
    is_reader: bool

    @property
    def same_rights(self) -> tuple[str, ...] | None:
        """The rights, if they are the same for all AE titles that it may use."""
        found = set(self.rights.values())
        return next(iter(found)) if len(found) == 1 else None


@dataclass(frozen=True)
class LoginList:
    """The users or tokens of a file, in its order. `obstacle` says why the service cannot change it; "" if it can.

    `has_changed` tells that a person has changed the file since it was read.
    """

    file: Path
    rows: tuple[LoginRow, ...]
    obstacle: str
    has_changed: bool


@dataclass(frozen=True)
class Logins:
    """The users and tokens of one service, for a caller."""

    services: Services
    caller: Principal

    @property
    def gate(self) -> Gate:
        """The gate, which knows those that count."""
        return self.services.gate

    def lists(self) -> Mapping[str, LoginList]:
        """The users and the tokens, as far as AUTH has them."""
        return {kind: self._list(kind, file) for kind in (USER, TOKEN) if (file := self._file(kind))}

    def row(self, kind: str, key: str) -> LoginRow:
        """One of them; NotFound if there is none."""
        found = self.lists().get(kind)
        row = next((row for row in found.rows if row.key == key), None) if found else None
        if row is None:
            raise NotFound(f"there is no such {USER if kind == USER else TOKEN}")
        return row

    def leaves_operators(self, kind: str, key: str) -> bool:
        """Whether somebody could still operate the service without one of them."""
        others = (one for name, one in self._principals() if name != (kind, key) and not is_over(one))
        return any(Right.OPERATE in rights for one in others for rights in self._rights(one).values()) or any(
            Right.OPERATE in rule.rights and (rule.user is None or rule.user.partition(":")[0] in _ELSEWHERE)
            for rule in self.gate.rules or ()
            if set(_ELSEWHERE) & self.gate.ways.keys()
        )

    def add_user(self, name: str, password: str) -> str:
        """Make a user; the password, which is made here if it is "".

        BadRequest for a name or password that cannot be, Conflict if there is such a user, Forbidden for one who would
        have more rights than the caller.
        """
        file, password = self._needed(USER), password or secrets.token_urlsafe(_GENERATED_BYTES)
        _check_name(name)
        if len(password) < SHORTEST_PASSWORD or len(password.encode()) > LONGEST_PASSWORD_BYTES:
            raise BadRequest(f"a password has {SHORTEST_PASSWORD} characters to {LONGEST_PASSWORD_BYTES} bytes")
        self._check_rights(Principal(name, scheme="basic"))
        line = new_line(name, password)

        def add(lines: Lines) -> Lines:
            if any(_name_of(one) == name for one in lines):
                raise Conflict("there is a user of this name")
            return [*lines, f"{line}\n"]

        edit(file.path, add, parse_users)
        file.note_change()
        return password

    def add_token(self, name: str, groups: str, days: int) -> str:
        """Make a token; errors are those of `add_user`."""
        file = self._needed(TOKEN)
        _check_name(name)
        names = [one for group in groups.split(",") if (one := group.strip())]
        if ":" in groups or not groups.isprintable() or len(groups) > _LONGEST_NAME * 4:
            raise BadRequest("groups are separated by commas, and have no colon")
        if days not in TOKEN_DAYS:
            raise BadRequest(f"days is not one of {', '.join(map(str, TOKEN_DAYS))}")
        self._check_rights(Principal(name, frozenset(names), scheme="bearer"))
        until = datetime.now(timezone.utc).date() + timedelta(days=days) if days else None
        token, line = new_token(name, ",".join(names), until)
        edit(file.path, lambda lines: [*lines, f"{line}\n"], parse_tokens)
        file.note_change()
        return token

    def remove(self, kind: str, key: str, *, sure: bool) -> LoginRow:
        """Remove a user or token, and so end its sessions.

        Conflict if it is no longer there, or if nobody could operate the service any more and the caller is not `sure`.
        """
        row, file = self.row(kind, key), self._needed(kind)
        if not sure and (row.is_reader or not self.leaves_operators(kind, key)):
            raise Conflict("this would lock out an operator: confirm that you want it")

        def without(lines: Lines) -> Lines:
            kept = [one for one in lines if not (_name_of(one) == key if kind == USER else is_token(one, key))]
            if len(kept) == len(lines):
                raise Conflict("somebody has removed it already")
            return kept

        edit(file.path, without, file.parse)
        file.note_change()
        return row

    def _file(self, kind: str) -> "LoginFile[str] | LoginFile[Principal] | None":
        way = self.gate.ways.get("basic" if kind == USER else "bearer")
        return way.file if isinstance(way, Basic | Bearer) else None

    def _needed(self, kind: str) -> "LoginFile[str] | LoginFile[Principal]":
        file = self._file(kind)
        if file is None:
            raise NotFound("AUTH has no such logins")
        return file

    def _list(self, kind: str, file: "LoginFile[str] | LoginFile[Principal]") -> LoginList:
        own = (principal for (one, _), principal in self._principals() if one == kind)
        keys = (key for (one, key), _ in self._principals() if one == kind)
        rows = tuple(self._row(kind, key, principal) for key, principal in zip(keys, own, strict=True))
        return LoginList(file.path, rows, obstacle(file.path), file.has_changed())

    def _principals(self) -> Iterator[tuple[tuple[str, str], Principal]]:
        """All of them, by kind and key."""
        basic, bearer = self.gate.ways.get("basic"), self.gate.ways.get("bearer")
        if isinstance(basic, Basic):
            for name in basic.users:
                yield (USER, name), Principal(name, scheme="basic")
        if isinstance(bearer, Bearer):
            for mark, principal in bearer.tokens.items():
                yield (TOKEN, mark), principal

    def _row(self, kind: str, key: str, principal: Principal) -> LoginRow:
        rights = {
            name: tuple(sorted(right.value for right in found))
            for name, found in self._rights(principal).items()
            if found
        }
        is_reader = principal.user == self.caller.user and principal.groups == self.caller.groups
        groups, until = tuple(sorted(principal.groups)), principal.until
        return LoginRow(key, principal.name, groups, rights, until, is_over(principal), is_reader)

    def _rights(self, principal: Principal) -> Mapping[str, frozenset[Right]]:
        return {name: self.gate.rights(principal, name) for name in self._ae_titles()}

    def _ae_titles(self) -> Iterable[str]:
        return dict.fromkeys(root.ae_title for root in self.services.roots if root.ae_title)

    def _check_rights(self, new: Principal) -> None:
        """Forbidden if somebody new would have more than the caller."""
        for name in self._ae_titles():
            if not (rights := self.gate.rights(new, name)):
                continue
            own = self.gate.grant(self.caller, name)
            if not (rights <= own.rights and _is_within(self.gate.grant(new, name).scope, own.scope)):
                raise Forbidden("by the rules, this name or its groups would have more rights than you")


def _is_within(inner: Scope, outer: Scope) -> bool:
    """Whether nothing is in one scope that is not in the other, as far as their texts tell."""
    if outer == EVERYTHING:
        return True
    stores = outer.datastore_ids is None or (
        inner.datastore_ids is not None and inner.datastore_ids <= outer.datastore_ids
    )
    return stores and set(outer.filters) <= set(inner.filters)


def _check_name(name: str) -> None:
    if len(name) > _LONGEST_NAME or not name.isprintable() or not _NAME.match(name) or name != name.strip():
        raise BadRequest(f"a name has 1 to {_LONGEST_NAME} characters, no colon, and does not begin with #")


def _name_of(line: str) -> str:
    """The name in a line of the file of users; "" for a comment."""
    text = line.strip()
    return "" if text.startswith("#") else text.partition(":")[0]

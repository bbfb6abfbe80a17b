"""Mutations of tokens."""

from __future__ import annotations

from dataclasses import dataclass

from shield_core.exceptions import InvalidInputError, UnknownTokenError
from shield_core.keys import Scope
from shield_core.models import TokenRecord
from shield_core.plan.commands import Command
from shield_core.snapshot import Commit, Snapshot, Write


@dataclass(frozen=True, kw_only=True)
class IssueToken(Command):
    """Note a token that was made by hand for a service."""

    record: TokenRecord

    def plan(self, snapshot: Snapshot) -> Commit:
        record = self.record.replace(issued=True, created_at=self.now, created_by=self._actor, **self._stamp)
        commit = self._commit(
            Scope("token", record.id).store_key,
            None,
            record,
            action="token_issued",
            previous="",
            new="issued",
        )
        return _cleared(self, snapshot, commit)


@dataclass(frozen=True, kw_only=True)
class RevokeToken(Command):
    """Revoke a token, also one of a login, which the store does not know yet (``record``)."""

    token_id: str
    record: TokenRecord | None = None

    def plan(self, snapshot: Snapshot) -> Commit:
        before = snapshot.token(self.token_id)
        known = before or self.record
        if known is None:
            raise UnknownTokenError(f"There is no token {self.token_id!r}; see 'shield token list'.")
        if known.revoked_at is not None:
            return Commit(result=Scope("token", known.id).store_key)
        commit = self._commit(
            Scope("token", known.id).store_key,
            before,
            known.replace(revoked_at=self.now, **self._stamp),
            action="token_revoked",
            previous="issued",
            new="revoked",
        )
        return _cleared(self, snapshot, commit)


@dataclass(frozen=True, kw_only=True)
class BindToken(Command):
    """Bind a service's token to the service that it names first; it belongs to that one from then on."""

    record: TokenRecord
    service: str

    def plan(self, snapshot: Snapshot) -> Commit:
        before = snapshot.token(self.record.id)
        known = before or self.record
        if known.service == self.service:
            return Commit(result=Scope("token", known.id).store_key)
        if known.service is not None:
            raise InvalidInputError(f"This token belongs to the service {known.service!r} already.")
        commit = self._commit(
            Scope("token", known.id).store_key,
            before,
            known.replace(service=self.service, **self._stamp),
            action="token_issued",
            previous="unbound",
            new="issued",
        )
        return _cleared(self, snapshot, commit)


def _cleared(command: Command, snapshot: Snapshot, commit: Commit) -> Commit:
    """Let a commit take records away that say nothing any more."""
    keys = {Scope("token", record.id).store_key: record for record in snapshot.tokens}
    over = [key for key, record in keys.items() if record.expires_at <= command.now and key != commit.result]
    writes = (*commit.writes, *(Write(key, None) for key in over))
    expect = {**commit.expect, **{key: keys[key].revision for key in over}}
    return Commit(writes, commit.audit, expect, commit.result)

"""What the store knows of tokens; they are signed and verified where people log in."""

from __future__ import annotations

from typing import Unpack

from shield_core import plan
from shield_core.models import TokenRecord
from shield_core.operations.commits import Committing
from shield_core.plan import Authorship


class TokenOperations(Committing):
    """Tokens that were issued by hand, and all that were revoked."""

    async def list_tokens(self, service: str | None = None) -> list[TokenRecord]:
        """Return the tokens that were issued by hand, of one service or of all, the newest first."""
        found = [one for one in (await self._fresh()).tokens if one.issued and service in (None, one.service)]
        return sorted(found, key=lambda one: (one.created_at is not None, one.created_at), reverse=True)

    async def record_token(
        self, record: TokenRecord, reason: str = "", **by: Unpack[Authorship]
    ) -> TokenRecord:
        """Note a token that was made for a service, so that it can be listed and revoked."""
        snapshot, _ = await self._run(plan.IssueToken(by=by, reason=reason, record=record))
        found = snapshot.token(record.id)
        assert found is not None
        return found

    async def revoke_token(
        self,
        token_id: str,
        record: TokenRecord | None = None,
        reason: str = "",
        **by: Unpack[Authorship],
    ) -> TokenRecord:
        """Revoke a token on every node; ``record`` tells of one that the store does not know.

        Raises UnknownTokenError where there is no such token.
        """
        command = plan.RevokeToken(by=by, reason=reason, token_id=token_id, record=record)
        snapshot, _ = await self._run(command)
        found = snapshot.token(token_id)
        assert found is not None
        return found

    async def bind_token(self, record: TokenRecord, service: str, **by: Unpack[Authorship]) -> None:
        """Bind a token of no service yet to ``service``, on every node. Raises InvalidInputError."""
        await self._run(plan.BindToken(by=by, record=record, service=service))

    async def note_failed_login(self, username: str, reason: str = "", **by: Unpack[Authorship]) -> None:
        """Write a failed login into the audit log."""
        await self._run(plan.Note(by={**by, "actor": username}, reason=reason, action="login_failed"))

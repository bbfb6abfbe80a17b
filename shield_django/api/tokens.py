"""Tokens of services, issued by hand: shown once, several alive for rotation."""

from __future__ import annotations

from typing import Any

from shield_core.models import TokenRecord
from shield_django.api import answers, bodies
from shield_django.api.base import ControlView, operation


class Tokens(ControlView):
    """Tokens that were issued, without the tokens themselves."""

    endpoint = "tokens"

    @operation(list[TokenRecord])
    def get(self) -> Any:
        found = self.sync.list_tokens(self.asked.get("service"))
        self.unless_known((one.id, one.revision) for one in found)
        return found

    @operation(answers.IssuedToken, takes=bodies.NewToken, status=201)
    def post(self) -> Any:
        record, token = self.control.issue_token(
            self.said["service"], self.said.get("expires"), self.reason, **self.by
        )
        return {**record.model_dump(mode="json"), "token": token}


class Token(ControlView):
    """Revoke a token; its streams end."""

    endpoint = "token"

    @operation(TokenRecord, takes=bodies.Change, asks=bodies.ChangeQuery)
    def delete(self, token_id: str) -> Any:
        return self.sync.revoke_token(token_id, None, self.reason, **self.by)

"""``token``: what services show to the Shield Server instead of a password."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

import click

from shield_core.cli import output
from shield_core.cli.group import AliasGroup
from shield_core.cli.options import Edit, Reading, mutation, reading, service_option
from shield_core.cli.params import SPAN, TOKEN_ID
from shield_core.cli.times import shown
from shield_core.models import TokenRecord

group = AliasGroup("token", help="Tokens of services, several of which may be valid at a time.")

_HEADS = ("ID", "SERVICE", "STATE", "EXPIRES", "ISSUED", "BY")


@group.command(example="token create --service payments-service --expires 90d")
@click.option("--expires", type=SPAN, help="How long it is valid: 12h, 90d; else as the server says.")
@service_option
@mutation
def create(edit: Edit, expires: timedelta | None) -> None:
    """Issue a token of a service, and print it this once."""
    if edit.service is None:
        raise click.UsageError("Say whose token it is: --service payments-service.")
    if edit.session.issue_token is None:
        raise click.ClickException(
            "A token is signed with a key that only the server has: run this against the Shield Server, or "
            "as 'manage.py shield token create'."
        )
    record, token = edit.session.issue_token(edit.service, expires, edit.reason, **edit.by)
    until = shown(record.expires_at, edit.session.zone)
    edit.report(
        f"Token {record.id} of service {record.service}, valid until {until}",
        {**record.model_dump(), "token": token},
    )
    if not edit.as_json:
        output.print_text(edit.session, token)


@group.command("list", example="token list --service payments-service")
@service_option
@reading
def list_(reading: Reading) -> None:
    """List the tokens that were issued, without the tokens themselves."""
    records = reading.client.list_tokens(reading.service)
    if reading.as_json:
        output.print_json(reading.session, [{**one.model_dump(), "state": _state(one)} for one in records])
    elif records:
        rows = [_row(one, reading.session.zone) for one in records]
        output.print_table(reading.session, _HEADS, rows)
    else:
        reading.say("No token was issued. Issue one: token create --service NAME.")


@group.command(example="token revoke 0b5f2c9e7d414d0f8a4b6c1d2e3f4a5b")
@click.argument("token_id", metavar="ID", type=TOKEN_ID)
@mutation
def revoke(edit: Edit, token_id: str) -> None:
    """Refuse a token from now on, on every node, and end its event streams."""
    record = edit.client.revoke_token(token_id, None, edit.reason, **edit.by)
    edit.report(f"Token {record.id} is revoked", record.model_dump())


def _row(record: TokenRecord, zone: tzinfo | None) -> tuple[str, ...]:
    return (
        record.id,
        record.service or "",
        _state(record),
        shown(record.expires_at, zone),
        shown(record.created_at, zone) if record.created_at else "",
        record.created_by,
    )


def _state(record: TokenRecord) -> str:
    if record.revoked_at is not None:
        return "revoked"
    return "expired" if record.expires_at <= datetime.now(UTC) else "valid"

"""All commands together: run ``app.main(args, obj=Session(…))``."""

from __future__ import annotations

from shield_core.cli import accounts, explaining, history, limits, routes, tokens
from shield_core.cli.group import AliasGroup
from shield_core.cli.maintenance import maintenance_group
from shield_core.keys import EVERYTHING

app = AliasGroup(
    "shield",
    help="Take routes out of service and put them back, without a deployment.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (routes.group, explaining.group, history.group, accounts.group):
    app.adopt(group)
app.add_command(maintenance_group("global", EVERYTHING))
app.add_command(maintenance_group("sm", None), aliases=["service-maintenance"])
app.add_command(tokens.group)
app.add_command(limits.group, aliases=["rate-limits"])
app.add_command(limits.limit_group("grl", EVERYTHING), aliases=["global-rate-limit"])
app.add_command(limits.limit_group("srl", None), aliases=["service-rate-limit"])

"""How statuses, times and windows look on the pages, and what they are called in messages."""

from __future__ import annotations

from datetime import UTC, datetime

from django.template.loader import render_to_string
from django.utils import formats, timezone
from django.utils.functional import Promise, lazy
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.timesince import timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from shield_core.blocks import block_of
from shield_core.exceptions import InvalidInputError
from shield_core.keys import NOWHERE, Scope
from shield_core.models import (
    Algorithm,
    GlobalMaintenanceConfig,
    GlobalRateLimitPolicy,
    KeyStrategy,
    MaintenanceWindow,
    RateLimitPolicy,
    RouteState,
    RouteStatus,
    StoredPolicy,
)
from shield_core.rate_limit.grammar import Rate
from shield_django.admin.moments import local
from shield_django.models import Status

Held = RouteState | GlobalMaintenanceConfig


def status_word(status: str) -> str:
    """Return the word for a stored status, also one that only a newer version knows."""
    return str(Status(status).label) if status in Status.values else status


def badge(status: str, *lines: str, look: str = "", word: str = "") -> SafeString:
    """Return a status as shape and word, with small lines under it."""
    context = {
        "look": look or status,
        "word": word or status_word(status),
        "lines": list(filter(None, lines)),
    }
    return render_to_string("admin/shield/status.html", context)


def route_badge(state: RouteState, now: datetime) -> SafeString:
    """Return what a route answers now."""
    status = state.effective(now)
    block = block_of(state, now)
    lines, look = [timing(state, now)], ""
    if block is not None and block.read_only and status is RouteStatus.MAINTENANCE:
        look = "read_only"
        lines.append(_("read-only: only writes are blocked"))
    if state.allowed_envs:
        lines.append(gate(state.allowed_envs))
    if state.force_active:
        look = look or "force_active"
        lines.append(_("protected by the code"))
    return badge(status, *lines, look=look)


def transition(before: str, after: str) -> SafeString:
    """Return what a change made of a status, or of a rate limit."""
    if _is_limit(before) or _is_limit(after):
        texts = [before or _("no limit"), after or _("no limit")]
        return format_html_join(
            " → ", '<span class="shield-limit">{}</span>', ((one,) for one in dict.fromkeys(texts))
        )
    if not after or before == after:
        return badge(after or before) if after or before else SafeString("")
    arrow = '<span class="shield-transition">{}<span aria-hidden="true">→</span>{}</span>'
    return format_html(arrow, badge(before) if before else "", badge(after))


def _is_limit(text: str) -> bool:
    try:
        Rate.parse(text)
    except InvalidInputError:
        return False
    return True


_PER = {
    KeyStrategy.IP: gettext_lazy("per address"),
    KeyStrategy.USER: gettext_lazy("per user"),
    KeyStrategy.API_KEY: gettext_lazy("per API key"),
    KeyStrategy.GLOBAL: gettext_lazy("for all callers together"),
    KeyStrategy.CUSTOM: gettext_lazy("per key of the code's function"),
}


ALGORITHMS = {
    Algorithm.FIXED_WINDOW: gettext_lazy("fixed window"),
    Algorithm.SLIDING_WINDOW: gettext_lazy("sliding window"),
    Algorithm.TOKEN_BUCKET: gettext_lazy("token bucket"),
}


def algorithm_text(algorithm: str) -> str:
    """Return how requests are counted."""
    return str(ALGORITHMS[Algorithm(algorithm)])


def key_text(strategy: str) -> str:
    """Return who is counted together."""
    return str(_PER[KeyStrategy(strategy)])


def is_operators(policy: StoredPolicy) -> bool:
    """Whether a limit is an operator's; only those of routes can be the code's."""
    return isinstance(policy, GlobalRateLimitPolicy) or bool(policy.updated_by)


def is_paused(policy: StoredPolicy | None) -> bool:
    return isinstance(policy, GlobalRateLimitPolicy) and not policy.enabled


def tiers_text(policy: StoredPolicy) -> str:
    tiers = policy.tiers if isinstance(policy, RateLimitPolicy) else ()
    return ", ".join(f"{tier.name} {tier.limit}" for tier in tiers)


def exempt_text(policy: StoredPolicy) -> str:
    """Return whom or what a limit lets through."""
    if isinstance(policy, RateLimitPolicy):
        return ", ".join([*policy.exempt_ips, *policy.exempt_roles])
    return ", ".join(policy.exempt_routes)


def limit_details(policy: StoredPolicy) -> str:
    """Return what is known of a rate limit besides how much it lets through."""
    details = [
        key_text(policy.key_strategy),
        algorithm_text(policy.algorithm),
        _("burst %(count)s") % {"count": policy.burst} if policy.burst else "",
        tiers_text(policy),
        _("counted only") if policy.shadow else "",
        _("set by %(name)s") % {"name": policy.updated_by} if is_operators(policy) else _("set by the code"),
    ]
    return ", ".join(filter(None, details))


def limit_text(policy: StoredPolicy | None) -> str:
    """Return a rate limit as one of several facts."""
    if policy is None:
        return ""
    said = [policy.limit, limit_details(policy), _("paused") if is_paused(policy) else ""]
    return ", ".join(filter(None, said))


def limit_sentence(scope: Scope, policy: StoredPolicy | None) -> str:
    """Return what a scope is limited to now, as a message after a change."""
    if policy is None:
        name = scope.name if scope.kind == "route" else capfirst(scope_label(scope))
        return _("%(name)s has no rate limit now.") % {"name": name}
    said = {"name": scope_label(scope), "limit": limit_text(policy)}
    return _("The rate limit of %(name)s is now %(limit)s.") % said


def gate(environments: tuple[str, ...]) -> str:
    if environments in ((), (NOWHERE,)):
        return _("in no environment")
    return _("only in %(environments)s") % {"environments": ", ".join(environments)}


def when(moment: datetime | None) -> SafeString:
    """Return a time for people, and exactly for machines."""
    if moment is None:
        return SafeString("")
    html = '<time datetime="{}" title="{}">{}</time>'
    return format_html(html, moment.isoformat(), exactly(moment), time_text(moment))


def author(name: str, moment: datetime | None) -> SafeString:
    """Return who set something, with when under it."""
    return with_details(name, when(moment))


def with_details(said: str, *lines: str) -> SafeString:
    """Return a text with small lines under it; empty ones are left out."""
    small = ((line,) for line in lines if line)
    html = format_html_join("", '<span class="shield-detail">{}</span>', small)
    return format_html("{}{}", said, html)


def _zoned(text: str | Promise) -> str:
    return f"{text} ({timezone.get_current_timezone_name()})"


#: The head of a column of times, with their zone.
zoned = lazy(_zoned, str)


def exactly(moment: datetime) -> str:
    """Return a time with its seconds and its zone."""
    return formats.date_format(local(moment), "Y-m-d H:i:s T")


def time_text(moment: datetime, beside: datetime | None = None) -> str:
    """Return a time in the project's zone; of the day of ``beside`` (now) only the time of day."""
    there = local(moment)
    known = local(beside or datetime.now(UTC)).date()
    return formats.date_format(there, "TIME_FORMAT" if there.date() == known else "DATETIME_FORMAT")


def timing(held: Held, now: datetime) -> str:
    """Return until when it blocks, or from when to when it will; empty without a window."""
    window = held.window
    if window is None or window.end <= now:
        return ""
    if not window.runs_at(now):
        return _("%(status)s from %(start)s until %(end)s") % {
            "status": status_word(window.status),
            "start": time_text(window.start, now),
            "end": time_text(window.end, window.start),
        }
    block = block_of(held, now)
    end = {"end": time_text(window.end, now), "left": timeuntil(local(window.end))}
    if block is not None and block.window is None:
        return _("the window until %(end)s lifts nothing") % end
    return _("until %(end)s (%(left)s)") % end


def window_text(window: MaintenanceWindow | None) -> str:
    """Return a window as one of several facts."""
    if window is None:
        return ""
    said = _("%(status)s from %(start)s until %(end)s") % {
        "status": status_word(window.status),
        "start": time_text(window.start),
        "end": time_text(window.end, window.start),
    }
    details = [_("read-only") if window.read_only else "", window.reason]
    return ", ".join(filter(None, [said, *details]))


def route_sentence(state: RouteState) -> str:
    """Return what a route answers now, as a message after a change."""
    now = datetime.now(UTC)
    return _told(state.path, _answer(state, now), state, now)


def scope_sentence(scope: Scope, config: GlobalMaintenanceConfig) -> str:
    """Return whether a scope is in maintenance now, as a message after a change."""
    now = datetime.now(UTC)
    answer = _("in maintenance") if config.in_force(now) else _("out of maintenance")
    return _told(capfirst(scope_label(scope)), answer, config, now)


def scope_label(scope: Scope) -> str:
    match scope.kind:
        case "global":
            return _("everything")
        case "service":
            return _("service %(name)s") % {"name": scope.name}
        case "token":
            return _("token %(name)s") % {"name": scope.name}
        case "route" | "store":
            return scope.name


def _answer(state: RouteState, now: datetime) -> str:
    match state.effective(now):
        case RouteStatus.MAINTENANCE:
            return _("in maintenance")
        case RouteStatus.ENV_GATED:
            return _("active %(gate)s") % {"gate": gate(state.allowed_envs)}
        case status:
            return status_word(status)


def _told(name: str, answer: str, held: Held, now: datetime) -> str:
    block = block_of(held, now)
    details = [
        _("read-only") if block and block.read_only else "",
        timing(held, now),
        quoted(block.reason) if block else "",
    ]
    said = ", ".join([answer, *filter(None, details)])
    return sentence(_("%(name)s is now %(answer)s") % {"name": name, "answer": said})


def quoted(text: str) -> str:
    """Return what somebody wrote in quotation marks; empty for nothing."""
    return _("“%(text)s”") % {"text": text} if text else ""


def sentence(text: str) -> str:
    """Return ``text`` with a full stop, which a time may have brought: 3 p.m."""
    return text if text.endswith(".") else f"{text}."

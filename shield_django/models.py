"""The tables of the models backend, and the unmanaged models behind the admin's pages.

The storage models (``Stored…``) are ordinary tables to query; write through the engine, which
also writes revision and audit entry. They have no permissions and no admin.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from shield_core.models import RateLimitPolicy, RouteState, RouteStatus

KEY_LENGTH = 500
#: A route's key with what the store puts around it (``shield_core.keys``).
STORE_KEY_LENGTH = KEY_LENGTH + 40
#: A rate limit as it is written ("100/minute"), or a status.
LIMIT_LENGTH = 64


class Status(models.TextChoices):
    ACTIVE = RouteStatus.ACTIVE.value, pgettext_lazy("status", "active")
    MAINTENANCE = RouteStatus.MAINTENANCE.value, pgettext_lazy("status", "maintenance")
    DISABLED = RouteStatus.DISABLED.value, pgettext_lazy("status", "disabled")
    ENV_GATED = RouteStatus.ENV_GATED.value, pgettext_lazy("status", "env-gated")
    DEPRECATED = RouteStatus.DEPRECATED.value, pgettext_lazy("status", "deprecated")


class Origin(models.TextChoices):
    CODE = "code", _("code")
    OPERATOR = "operator", _("operator")


class StoreRevision(models.Model):
    """The one row that orders all commits: its update is the first statement of each."""

    epoch = models.CharField(max_length=32)
    revision = models.BigIntegerField(default=0)
    audit_head = models.CharField(max_length=64, blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.epoch}:{self.revision}"


class ScopeKind(models.TextChoices):
    GLOBAL = "global", _("everything")
    SERVICE = "service", _("service")
    ROUTE = "route", _("route")


class Stored(models.Model):
    """What all objects of the store have in common."""

    key = models.CharField(max_length=STORE_KEY_LENGTH, primary_key=True)
    revision = models.BigIntegerField(db_index=True)
    updated_at = models.DateTimeField(null=True)
    updated_by = models.CharField(max_length=255, blank=True)
    extra = models.JSONField(default=dict, help_text="Fields of a newer version, kept.")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.key


class StoredLifecycle(Stored):
    """What route states and maintenance have in common."""

    reason = models.TextField(blank=True)
    note = models.TextField(blank=True)
    read_only = models.BooleanField(default=False)
    window_start = models.DateTimeField(null=True)
    window_end = models.DateTimeField(null=True)
    window = models.JSONField(null=True, help_text="The whole window, as it is sent to clients.")

    class Meta:
        abstract = True


class StoredRoute(StoredLifecycle):
    """A route's state: ``status`` is the base status, which no window changes."""

    service = models.CharField(max_length=255, null=True, db_index=True)  # noqa: DJ001 - None is "no service"
    method = models.CharField(max_length=32, blank=True)
    path = models.CharField(max_length=KEY_LENGTH)
    status = models.CharField(max_length=16, choices=Status.choices, db_index=True)
    allowed_envs = models.JSONField(default=list)
    sunset_date = models.DateTimeField(null=True)
    successor_path = models.TextField(null=True)  # noqa: DJ001 - None is "no successor"
    force_active = models.BooleanField(default=False)
    origin = models.CharField(max_length=8, choices=Origin.choices, db_index=True)
    baseline = models.JSONField(null=True)
    rate_limit = models.JSONField(null=True, help_text="What the code's @rate_limit says.")
    release = models.CharField(max_length=255, blank=True)

    class Meta:
        default_permissions = ()


class StoredMaintenance(StoredLifecycle):
    """The maintenance of everything or of one service."""

    enabled = models.BooleanField(default=False)
    exempt_paths = models.JSONField(default=list)
    include_force_active = models.BooleanField(default=False)

    class Meta:
        default_permissions = ()


class StoredRateLimit(Stored):
    """An operator's rate limit of everything, of a service or of a route.

    ``path`` and ``method`` are of a route's limit; ``method`` empty is every method. ``enabled`` and
    ``exempt_routes`` are of the wider scopes, tiers and the other exemptions of routes.
    """

    scope = models.CharField(max_length=8, choices=ScopeKind.choices)
    service = models.CharField(max_length=255, null=True, db_index=True)  # noqa: DJ001 - None is "no service"
    method = models.CharField(max_length=32, blank=True)
    path = models.CharField(max_length=KEY_LENGTH, blank=True)
    limit = models.CharField(max_length=LIMIT_LENGTH)
    algorithm = models.CharField(max_length=16)
    key_strategy = models.CharField(max_length=16)
    on_missing_key = models.CharField(max_length=16, null=True)  # noqa: DJ001 - None is the strategy's own
    burst = models.BigIntegerField(default=0)
    enabled = models.BooleanField(default=True)
    shadow = models.BooleanField(default=False)
    tiers = models.JSONField(default=list)
    tier_resolver = models.CharField(max_length=255, blank=True)
    exempt_ips = models.JSONField(default=list)
    exempt_roles = models.JSONField(default=list)
    exempt_routes = models.JSONField(default=list)

    class Meta:
        default_permissions = ()


class StoredRateLimitReset(Stored):
    """When the counters of a scope last began anew; ``revision`` is their generation."""

    class Meta:
        default_permissions = ()


class StoredRateLimitHit(models.Model):
    """A request that a rate limit blocked, or would have (``shadow``); the latest are kept.

    Callers choose what stands in most columns, so that these have no length.
    """

    number = models.BigAutoField(primary_key=True)
    id = models.CharField(max_length=32)
    timestamp = models.DateTimeField()
    path = models.TextField()
    method = models.TextField(blank=True)
    key = models.TextField(blank=True)
    limit = models.CharField(max_length=LIMIT_LENGTH)
    tier = models.TextField(null=True)  # noqa: DJ001 - None is "no tier"
    reset_at = models.DateTimeField()
    scope = models.TextField(blank=True)
    shadow = models.BooleanField(default=False)
    extra = models.JSONField(default=dict)

    class Meta:
        default_permissions = ()
        ordering = ("-number",)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class StoredToken(Stored):
    """What is known of a token, never the token itself: issued by hand, or revoked."""

    id = models.CharField(max_length=255)
    platform = models.CharField(max_length=32)
    subject = models.CharField(max_length=255, blank=True)
    service = models.CharField(max_length=255, null=True)  # noqa: DJ001 - None is "no service"
    issued = models.BooleanField(default=False)
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=255, blank=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()


class StoredDeletion(models.Model):
    """At which revision an object went away, for those who follow the changes."""

    key = models.CharField(max_length=STORE_KEY_LENGTH, primary_key=True)
    revision = models.BigIntegerField(db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.key


class StoredInstance(models.Model):
    """A process that follows the store: when it was last seen, and with which revision."""

    id = models.CharField(max_length=32, primary_key=True)
    service = models.CharField(max_length=255, null=True)  # noqa: DJ001 - None is "no service"
    host = models.CharField(max_length=255)
    pid = models.BigIntegerField()
    release = models.CharField(max_length=255, blank=True)
    epoch = models.CharField(max_length=32)
    revision = models.BigIntegerField()
    seen_at = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class StoredAuditEntry(models.Model):
    """One line of the audit log, sealed to the line before it."""

    number = models.BigAutoField(primary_key=True)
    id = models.CharField(max_length=32, unique=True)
    timestamp = models.DateTimeField(db_index=True)
    path = models.CharField(max_length=STORE_KEY_LENGTH, db_index=True)
    service = models.CharField(max_length=255, null=True, db_index=True)  # noqa: DJ001 - None is "no service"
    action = models.CharField(max_length=64, db_index=True)
    actor = models.CharField(max_length=255, db_index=True)
    platform = models.CharField(max_length=32)
    reason = models.TextField(blank=True)
    note = models.TextField(blank=True)
    previous_status = models.CharField(max_length=LIMIT_LENGTH, null=True)  # noqa: DJ001 - None is "no status"
    new_status = models.CharField(max_length=LIMIT_LENGTH, null=True)  # noqa: DJ001 - None is "no status"
    revision = models.BigIntegerField(db_index=True)
    request_id = models.CharField(max_length=255, blank=True)
    client_ip = models.CharField(max_length=64, blank=True)
    details = models.JSONField(default=dict)
    prev_hash = models.CharField(max_length=64, blank=True)
    hash = models.CharField(max_length=64)
    extra = models.JSONField(default=dict)

    class Meta:
        default_permissions = ()
        ordering = ("-number",)

    def __str__(self) -> str:
        return f"{self.action} {self.path}"


class Unmanaged(models.Model):
    """A model without a table: the admin shows what the engine knows, whatever the backend."""

    class Meta:
        abstract = True
        managed = False

    def save(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("Shield is changed through its engine, which writes the audit entry.")

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise NotImplementedError("Nothing of Shield is deleted as a row; the engine takes limits away.")


class Route(Unmanaged):
    """A route as operators see it."""

    #: What the instance was made of.
    state: RouteState

    key = models.CharField(_("route"), max_length=KEY_LENGTH, primary_key=True)
    service = models.CharField(_("service"), max_length=255, blank=True)
    method = models.CharField(_("method"), max_length=32, blank=True)
    path = models.CharField(_("path"), max_length=KEY_LENGTH)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices)
    effective_status = models.CharField(_("status now"), max_length=16, choices=Status.choices)
    reason = models.TextField(_("reason"), blank=True)
    note = models.TextField(_("note"), blank=True)
    origin = models.CharField(_("set by"), max_length=8, choices=Origin.choices)
    allowed_envs = models.JSONField(_("environments"), default=list)
    window_start = models.DateTimeField(_("window start"), null=True)
    window_end = models.DateTimeField(_("window end"), null=True)
    read_only = models.BooleanField(_("read-only"), default=False)
    force_active = models.BooleanField(_("force active"), default=False)
    revision = models.BigIntegerField(_("revision"), default=0)
    updated_at = models.DateTimeField(_("changed"), null=True)
    updated_by = models.CharField(_("changed by"), max_length=255, blank=True)

    class Meta(Unmanaged.Meta):
        abstract = False
        default_permissions = ("view", "change")
        permissions = [("manage_tokens", _("Can issue and revoke tokens of services"))]
        verbose_name = _("route")
        verbose_name_plural = _("routes")

    def __str__(self) -> str:
        return self.key


class RateLimit(Unmanaged):
    """A route's rate limit as operators see it: an operator's, else the code's."""

    #: What the instance was made of.
    policy: RateLimitPolicy
    #: Requests in a second, by which limits are ordered.
    rate: float

    key = models.CharField(_("route"), max_length=KEY_LENGTH, primary_key=True)
    service = models.CharField(_("service"), max_length=255, blank=True)
    method = models.CharField(_("method"), max_length=32, blank=True)
    path = models.CharField(_("path"), max_length=KEY_LENGTH)
    limit = models.CharField(_("limit"), max_length=LIMIT_LENGTH)
    algorithm = models.CharField(_("algorithm"), max_length=16)
    key_strategy = models.CharField(_("counted"), max_length=16)
    burst = models.BigIntegerField(_("burst"), default=0)
    shadow = models.BooleanField(_("counted only"), default=False)
    origin = models.CharField(_("set by"), max_length=8, choices=Origin.choices)
    revision = models.BigIntegerField(_("revision"), default=0)
    updated_at = models.DateTimeField(_("changed"), null=True)
    updated_by = models.CharField(_("changed by"), max_length=255, blank=True)

    class Meta(Unmanaged.Meta):
        abstract = False
        default_permissions = ("view", "change")
        verbose_name = _("rate limit")
        verbose_name_plural = _("rate limits")

    def __str__(self) -> str:
        return self.key


class ServiceInstance(Unmanaged):
    """A process that follows the store, as operators see it."""

    id = models.CharField(max_length=255, primary_key=True)
    service = models.CharField(_("service"), max_length=255, blank=True)
    host = models.CharField(_("host"), max_length=255)
    pid = models.BigIntegerField(_("process"))
    release = models.CharField(_("release"), max_length=255, blank=True)
    revision = models.BigIntegerField(_("revision"))
    #: Changes that it has not applied, None where it follows another history of the store.
    lag = models.BigIntegerField(_("changes behind"), null=True)
    seen_at = models.DateTimeField(_("last seen"))

    class Meta(Unmanaged.Meta):
        abstract = False
        # Whoever may view routes may view these.
        default_permissions = ()
        verbose_name = _("instance")
        verbose_name_plural = _("instances")

    def __str__(self) -> str:
        return self.id


class AuditLogEntry(Unmanaged):
    """A line of the audit log as operators see it."""

    id = models.CharField(max_length=32, primary_key=True)
    timestamp = models.DateTimeField(_("time"))
    path = models.CharField(_("route"), max_length=STORE_KEY_LENGTH)
    service = models.CharField(_("service"), max_length=255, blank=True)
    action = models.CharField(_("action"), max_length=64)
    actor = models.CharField(_("who"), max_length=255)
    platform = models.CharField(pgettext_lazy("audit log", "from"), max_length=32)
    reason = models.TextField(_("reason"), blank=True)
    note = models.TextField(_("note"), blank=True)
    previous_status = models.CharField(
        pgettext_lazy("audit log", "before"), max_length=LIMIT_LENGTH, blank=True
    )
    new_status = models.CharField(pgettext_lazy("audit log", "after"), max_length=LIMIT_LENGTH, blank=True)
    revision = models.BigIntegerField(_("revision"), default=0)
    request_id = models.CharField(_("request id"), max_length=255, blank=True)
    client_ip = models.CharField(_("client address"), max_length=64, blank=True)
    details = models.JSONField(_("details"), default=dict)
    hash = models.CharField(_("hash"), max_length=64, blank=True)

    class Meta(Unmanaged.Meta):
        abstract = False
        default_permissions = ("view",)
        verbose_name = _("audit log entry")
        verbose_name_plural = _("audit log")

    def __str__(self) -> str:
        return f"{self.action} {self.path}"

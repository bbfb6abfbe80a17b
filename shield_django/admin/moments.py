"""Times between the engine (aware) and Django's pages, which show the project's time zone."""

from __future__ import annotations

from datetime import UTC, datetime

from django.conf import settings
from django.utils import timezone


def local(moment: datetime) -> datetime:
    """Return ``moment`` as Django's templates and forms take it: naive where USE_TZ is off."""
    zone = timezone.get_current_timezone()
    try:
        found = moment.astimezone(zone)
    except OverflowError:  # 9999-12-31, which people write for "for ever", may have no local time
        found = (datetime.max if moment.year > 1 else datetime.min).replace(tzinfo=zone)  # noqa: DTZ901
    return found if settings.USE_TZ else found.replace(tzinfo=None)


def universal(moment: datetime) -> datetime:
    """Return what a form took as the engine takes it. Raises OverflowError beyond the calendar."""
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment)
    return moment.astimezone(UTC)

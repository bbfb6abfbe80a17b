"""The services that use this control plane, and their processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shield_core.models import Instance
from shield_core.snapshot import Cursor
from shield_django.api import answers, bodies
from shield_django.api.base import ControlView, operation


class Services(ControlView):
    """The names of all services; with ``detail=1`` also their processes."""

    endpoint = "services"

    @operation(list[str] | list[answers.ServiceDetail], asks=bodies.RouteQuery)
    def get(self) -> Any:
        names = self.sync.list_services()
        if not self.asked.get("detail"):
            self.unless_known(names)
            return names
        instances, store = self.sync.instances(), self.sync.current()
        heard = {one.service for one in instances}
        services: list[str | None] = [*sorted({*names, *(one for one in heard if one is not None)})]
        if None in heard:
            services.append(None)
        return [
            _detail(name, [one for one in instances if one.service == name], store.cursor)
            for name in services
        ]


def _detail(name: str | None, instances: Sequence[Instance], store: Cursor) -> answers.ServiceDetail:
    told = [
        answers.InstanceDetail.model_validate({**dict(one), "lag": one.behind(*store)})
        for one in sorted(instances, key=lambda one: one.id)
    ]
    lags = [one.lag for one in told if one.lag is not None]
    return answers.ServiceDetail(
        service=name,
        instances=told,
        last_contact=max((one.seen_at for one in told), default=None),
        revision=min((one.revision for one in told), default=None),
        lag=max(lags, default=None),
    )

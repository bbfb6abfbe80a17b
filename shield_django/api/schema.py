"""The OpenAPI description of this API and of nothing else, by drf-spectacular.

The host's SPECTACULAR_SETTINGS and its own schema are left alone, as it is by them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import UnionType
from typing import Any, get_args, get_origin

from drf_spectacular.generators import EndpointEnumerator, SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import SPECTACULAR_DEFAULTS, patched_settings
from rest_framework.serializers import Serializer

from shield_django.api import answers
from shield_django.api.base import ControlView, NotFound, Operation, operation
from shield_django.auth.access import rule_of

_SETTINGS = {
    **{
        name: value
        for name, value in SPECTACULAR_DEFAULTS.items()
        if not name.startswith("SERVE_") and name != "DEFAULT_GENERATOR_CLASS"
    },
    "TITLE": "Shield",
    "DESCRIPTION": "Route lifecycle and traffic control.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/",
    # Bodies and answers may be called alike; and only so is told which texts may not be empty.
    "COMPONENT_SPLIT_REQUEST": True,
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "token": {"type": "apiKey", "in": "header", "name": "X-Shield-Token"},
        }
    },
}
#: drf-spectacular's settings are patched for the whole process while it works.
_lock = threading.Lock()
_made: dict[str, Any] = {}


class Schema(ControlView):
    """The description of this API."""

    endpoint = "schema"

    @operation({"type": "object"})
    def get(self) -> Any:
        root = self.request.path.removesuffix("/schema")
        return {**described(), "servers": [{"url": root}]}


def described() -> dict[str, Any]:
    """Return the OpenAPI document, without the address at which the API is."""
    with _lock:
        if not _made:
            from shield_django.api.urls import urlpatterns

            with patched_settings(_SETTINGS):
                generator: Any = _Generator(patterns=urlpatterns)  # type: ignore[no-untyped-call]
                _made.update(generator.get_schema(public=True))
        return _made


class _Endpoints(EndpointEnumerator):  # type: ignore[misc, unused-ignore]
    def should_include_endpoint(self, path: str, callback: Callable[..., Any]) -> bool:
        view: type[ControlView] = callback.cls  # type: ignore[attr-defined]
        return not issubclass(view, NotFound)


class _Generator(SchemaGenerator):  # type: ignore[misc, unused-ignore]
    endpoint_inspector_cls = _Endpoints

    def create_view(self, callback: Any, method: str, request: Any = None) -> Any:
        view = super().create_view(callback, method, request)  # type: ignore[no-untyped-call]
        schema = _Description()
        schema.view = view
        self._set_schema_to_view(view, schema)  # type: ignore[no-untyped-call]
        return view


class _Description(AutoSchema):  # type: ignore[misc, unused-ignore]
    """Describes a method of a view by its ``Operation``."""

    @property
    def _operation(self) -> Operation:
        found: Operation = getattr(self.view, self.method.lower()).operation
        return found

    @property
    def _endpoint(self) -> str:
        view: Any = self.view
        return str(view.endpoint)

    def get_operation_id(self) -> str:
        return f"{self.method.lower()}_{self._endpoint.replace('-', '_')}"

    def get_tags(self) -> list[str]:
        return [self._endpoint.partition("-")[0]]

    def get_auth(self) -> list[dict[str, Any]]:
        rule = rule_of(self._endpoint, self.method)
        return [] if rule is None or rule.permissions is None else [{"bearer": []}, {"token": []}]

    def get_override_parameters(self) -> list[Any]:
        return [self._operation.asks]

    def get_request_serializer(self) -> type[Serializer[Any]] | None:
        return self._operation.takes

    def get_response_serializers(self) -> Any:
        return {
            str(self._operation.status): self._shape(self._operation.answers),
            "4XX": self._shape(answers.Failure),
        }

    def _shape(self, kind: Any) -> Any:
        if isinstance(kind, UnionType):
            return {"anyOf": [self._shape(one) for one in get_args(kind)]}
        if get_origin(kind) is list:
            (of,) = get_args(kind)
            items = {"type": "string"} if of is str else self.resolve_serializer(of, "response").ref
            return {"type": "array", "items": items}
        return kind

"""The OpenAPI document: whole, our own, and in nobody else's."""

from __future__ import annotations

import re

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from tests.api.test_access import OPERATIONS


def test_the_schema_is_valid_open_to_all_and_says_where_it_is(memory_plane):
    answer = memory_plane.caller("stale")("GET", "schema")
    assert answer.status_code == 200
    schema = answer.json()
    assert schema["servers"] == [{"url": "/shield/api"}]
    validate_schema(schema)


def test_every_operation_is_described_and_nothing_else(memory_plane):
    schema = memory_plane.caller()("GET", "schema").json()
    described = {
        (method.upper(), re.sub(r"\{\w+\}", "*", path))
        for path, methods in schema["paths"].items()
        for method in methods
    }
    assert len(described) == len(OPERATIONS)
    names = [one["operationId"] for methods in schema["paths"].values() for one in methods.values()]
    assert len(set(names)) == len(names)


def test_bodies_and_answers_are_described(memory_plane):
    schema = memory_plane.caller()("GET", "schema").json()
    disable = schema["paths"]["/routes/{key}/disable"]["post"]
    body = disable["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    fields = schema["components"]["schemas"][body.rpartition("/")[2]]["properties"]
    assert set(fields) == {"reason", "note", "for", "until", "start", "end"}
    answer = disable["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    assert "baseline" in schema["components"]["schemas"][answer.rpartition("/")[2]]["properties"]
    assert disable["security"]
    assert "security" not in schema["paths"]["/auth/login"]["post"]


def test_the_hosts_own_schema_has_nothing_of_ours(settings):
    settings.ROOT_URLCONF = "tests.api.urls"
    assert SchemaGenerator().get_schema(public=True)["paths"] == {}

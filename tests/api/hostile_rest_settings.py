"""A project whose REST_FRAMEWORK suits its own API and would ruin any other."""

from tests.settings import *  # noqa: F403

_HERE = "tests.api.hostile_rest"
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": [f"{_HERE}.Shouting"],
    "DEFAULT_PARSER_CLASSES": [f"{_HERE}.Deaf"],
    "DEFAULT_AUTHENTICATION_CLASSES": [f"{_HERE}.NobodyKnown"],
    "DEFAULT_PERMISSION_CLASSES": [f"{_HERE}.NothingAllowed"],
    "DEFAULT_THROTTLE_CLASSES": [f"{_HERE}.NeverAgain"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": f"{_HERE}.NoAgreement",
    "DEFAULT_METADATA_CLASS": f"{_HERE}.Broken",
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.AcceptHeaderVersioning",
    "ALLOWED_VERSIONS": ["7"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "PAGE_SIZE": 1,
    "DEFAULT_SCHEMA_CLASS": f"{_HERE}.Broken",
    "EXCEPTION_HANDLER": f"{_HERE}.swallow",
    "VIEW_NAME_FUNCTION": f"{_HERE}.swallow",
    "VIEW_DESCRIPTION_FUNCTION": f"{_HERE}.swallow",
    "UNAUTHENTICATED_USER": None,
    "NON_FIELD_ERRORS_KEY": "oops",
    "URL_FORMAT_OVERRIDE": "service",
    "FORMAT_SUFFIX_KWARG": "key",
    "UNICODE_JSON": False,
    "COMPACT_JSON": False,
    "STRICT_JSON": False,
    "COERCE_DECIMAL_TO_STRING": True,
    "DATETIME_FORMAT": "%d.%m.%Y",
    "DATETIME_INPUT_FORMATS": ["%d.%m.%Y"],
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Another",
    "CAMELIZE_NAMES": True,
    "POSTPROCESSING_HOOKS": [f"{_HERE}.swallow"],
    "PREPROCESSING_HOOKS": [f"{_HERE}.swallow"],
    "SCHEMA_PATH_PREFIX_INSERT": "/elsewhere",
}

"""Payloads of Kafka and MQTT, held against the schema that the documentation gives to readers."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

__all__ = ["SCHEMA", "checked"]

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[1] / "docs" / "messages.schema.json").read_bytes()
)
FORMS = [one["$ref"].rpartition("/")[2] for one in SCHEMA["oneOf"]]


def _strict() -> Draft202012Validator:
    """The schema, but a property that it does not describe is wrong."""
    closed = {
        name: of | {"unevaluatedProperties": False} if name in FORMS else of
        for name, of in SCHEMA["$defs"].items()
    }
    Draft202012Validator.check_schema(SCHEMA)
    return Draft202012Validator(SCHEMA | {"$defs": closed})


_VALIDATOR = _strict()


def checked(payload: bytes) -> dict[str, Any]:
    """A payload's content; jsonschema.ValidationError where the schema says something else."""
    content: dict[str, Any] = json.loads(payload)
    _VALIDATOR.validate(content)
    return content

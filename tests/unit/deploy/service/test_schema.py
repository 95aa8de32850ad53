"""Requests that a machine makes up from the schema: whatever they are, none is a mistake of ours."""

from __future__ import annotations

from collections import Counter

import schemathesis
from hypothesis import HealthCheck, given, settings

from service_fixtures import API

PARTS = {"method", "url", "headers", "params", "json", "files", "data"}
MADE_UP = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def in_bytes(value: object) -> object:
    """Return a made-up file as something that can be sent at all."""
    if isinstance(value, tuple):
        return tuple(in_bytes(part) if place == 1 else part for place, part in enumerate(value))
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def test_no_request_from_the_schema_is_a_mistake_of_the_service(serve):
    client = serve(max_pixels=10_000)
    schema = schemathesis.openapi.from_dict(client.get(f"{API}/openapi.json").json())
    seen: Counter[int] = Counter()

    def ask(case: schemathesis.Case) -> None:
        told = case.as_transport_kwargs(base_url="http://127.0.0.1:8000")
        parts = {name: value for name, value in told.items() if name in PARTS}
        if isinstance(parts.get("data"), str | bytes):
            parts["content"] = parts.pop("data")
        parts["files"] = [(name, in_bytes(value)) for name, value in parts.get("files") or ()]
        answer = client.request(**parts)
        seen[answer.status_code] += 1
        assert answer.status_code != 500, (parts, answer.text)

    operations = [found.ok() for found in schema.get_all_operations()]
    for operation in operations:
        MADE_UP(given(case=operation.as_strategy())(ask))()
    assert len(operations) > 15
    assert sum(seen.values()) > 200
    assert {200, 404, 422} <= set(seen)

"""Holds answers of the API against its own description: what is answered is described, and as it is described."""

import copy
import re
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it brings no types

from tests.asgi_client import AsgiResponse

_WHERE_KNOWN = {"Retry-After", "RateLimit", "RateLimit-Policy"}
_PREFIX = re.compile(r"^/v1(?:\.0)?(?=/)")


class Conformance:
    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._unversioned = {path: document["paths"][path] for path in document["paths"].keys() - versioned(document)}
        self._validators: dict[int, Any] = {}
        self._allowed: set[str] = set()
        self._paths = {
            re.compile(re.sub(r"\{\w+\}", "[^/]+", template)): operations
            for template, operations in versioned(document).items()
        }

    def allow(self, code: str) -> None:
        """Lets ``code`` pass, which a test made up, or has given where it does not belong."""
        self._allowed.add(code)

    def check(self, method: str, path: str, response: AsgiResponse) -> None:
        """AssertionError if ``response`` is none that the description allows. What is no operation is not looked at."""
        operation = self._operation(method, path)
        if operation is None:
            return
        if response.status >= 400 and response.json()["code"] in self._allowed:
            return
        described = operation["responses"].get(str(response.status))
        assert described, f"{method} {path} answered {response.status}, which is not described: {response.body!r}"
        for name in described["headers"]:
            if name not in _WHERE_KNOWN:
                assert name.lower() in response.headers, (method, path, name)
        if "content" not in described:
            assert response.body == b""
            return
        ((media_type, content),) = described["content"].items()
        assert response.headers["content-type"] == media_type
        if media_type == "application/json":
            faults = [fault.message for fault in self._validator(content["schema"]).iter_errors(response.json())]
            assert not faults, (method, path, response.status, faults)

    def _validator(self, schema: dict[str, Any]) -> Any:
        # By identity: the document keeps its schemas for as long as this does.
        if id(schema) not in self._validators:
            self._validators[id(schema)] = Draft202012Validator(closed(schema, self.document))
        return self._validators[id(schema)]

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        if not _PREFIX.match(path):
            alone: dict[str, Any] | None = self._unversioned.get(path, {}).get(method.lower())
            return alone
        for template, operations in self._paths.items():
            if template.fullmatch(_PREFIX.sub("", path)):
                operation: dict[str, Any] | None = operations.get(method.lower())
                return operation
        return None


def versioned(document: dict[str, Any]) -> dict[str, Any]:
    """The paths under /v1. Those of sessions are under servers of their own."""
    return {
        path: operations
        for path, operations in document["paths"].items()
        if not any("servers" in operation for operation in operations.values())
    }


def closed(schema: Any, document: dict[str, Any]) -> Any:
    """``schema`` with its references resolved, and with nothing allowed that it does not name."""
    if isinstance(schema, list):
        return [closed(part, document) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        target: Any = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return closed(target, document)
    found = {key: closed(copy.deepcopy(value), document) for key, value in schema.items()}
    if "required" in found:
        found.setdefault("additionalProperties", False)
    return found

"""The description is whole and true, and the page that shows it needs nothing from outside."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it brings no types
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from svc.api_gateway_service import error_codes
from svc.api_gateway_service.error_codes import ErrorCode
from tests.api.api_gateway_service.conformance import Conformance, closed
from tests.api.api_gateway_service.conftest import GatewayHouse
from tests.asgi_client import AsgiClient, AsgiResponse

ROOT = Path(__file__).parents[3]
OPERATIONS = 40


async def fetch(house: GatewayHouse, path: str) -> AsgiResponse:
    async with AsgiClient(house.gateway.app) as client:
        return await client.request("GET", path)


async def described(house: GatewayHouse) -> dict[str, Any]:
    document: dict[str, Any] = (await fetch(house, "/openapi.json")).json()
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def schemas_within(schema: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of a value: the given one, and those of its fields and members."""
    if "$ref" in schema:
        return
    yield place, schema
    for name, field in schema.get("properties", {}).items():
        yield from schemas_within(field, f"{place}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from schemas_within(schema["items"], f"{place}[]")


# --- the description ------------------------------------------------------------------------------------------------


async def test_it_is_openapi(house: GatewayHouse) -> None:
    document = await described(house)
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(closed(schema, document))


async def test_every_route_is_described_and_everything_described_is_served(house: GatewayHouse) -> None:
    document = await described(house)
    told = {
        (server["url"].rstrip("/") + path, method.upper())
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for server in operation.get("servers", document["servers"])
    }
    limited: Any = house.gateway.app.app
    app: Any = limited.app
    served = {
        (route.path, method)
        for route in app.routes
        if isinstance(route, Route) and route.path.startswith("/v1")
        for method in route.methods or ()
        if method != "HEAD"
    }
    # These answer programs and browsers, which know nothing of this document.
    shared = {("/login", "POST"), ("/logout", "POST")}
    assert shared <= {(route.path, method) for route in app.routes for method in route.methods or ()}
    assert told == served | shared
    assert len(list(operations(document))) == OPERATIONS


async def test_everything_has_words_and_an_example(house: GatewayHouse) -> None:
    document = await described(house)
    for where, operation in operations(document):
        assert operation["summary"], where
        assert len(operation["description"]) > 10, where
        for parameter in operation["parameters"]:
            place = f"{where} {parameter['name']}"
            assert parameter["description"].endswith("."), place
            (example,) = parameter["schema"]["examples"]
            assert not list(Draft202012Validator(parameter["schema"]).iter_errors(example)), place
            bounds = parameter["schema"].keys() & {"maxLength", "maximum", "enum"}
            assert bounds or parameter["schema"]["type"] == "boolean" or "tags" in parameter["name"], place
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            for name, field in content["schema"].get("properties", {}).items():
                place = f"{where} {media_type} {name}"
                assert field["description"], place
                assert not list(Draft202012Validator(field).iter_errors(field["examples"][0])), place
    replies = {where: operation["responses"]["200"]["content"] for where, operation in operations(document)}
    everything = [
        *document["components"]["schemas"].items(),
        *((where, content["schema"]) for where, kinds in replies.items() for content in kinds.values()),
    ]
    for name, schema in everything:
        for place, field in schemas_within(schema, name):
            if field.get("type") == "object":
                assert field["description"], place
            elif field.get("type") in ("string", "integer", "boolean") and "." in place and "[]" not in place:
                assert field["description"], place
                assert not list(Draft202012Validator(field).iter_errors(field["examples"][0])), place


async def test_required_arguments_are_told_in_the_text(house: GatewayHouse) -> None:
    document = await described(house)
    post = document["paths"]["/links"]["post"]
    assert "**Required**, in the query, a form or a JSON body: `url`, `title`." in post["description"]
    assert not any(parameter["required"] for parameter in post["parameters"])
    assert set(post["requestBody"]["content"]) == {
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    }
    assert document["paths"]["/users/{name}"]["get"]["parameters"][0]["required"] is True


async def test_every_operation_tells_its_failures(house: GatewayHouse) -> None:
    document = await described(house)
    for where, operation in operations(document):
        statuses = operation["responses"].keys()
        assert statuses >= {"200", "400", "401", "413", "414", "429", "431", "500", "503", "504"}, where
        for status, response in operation["responses"].items():
            if status not in ("200", "304"):
                content = response["content"]["application/json"]
                codes = content["schema"]["properties"]["code"]["enum"]
                assert codes == list(content["examples"])
                validator = Draft202012Validator(closed(content["schema"], document))
                assert all(validator.is_valid(example["value"]) for example in content["examples"].values())
                assert all(f"`{code}`" in response["description"] for code in codes), (where, status)


async def test_a_false_description_would_be_seen(house: GatewayHouse) -> None:
    """The check that every other test here makes of each answer can fail."""
    document = await described(house)
    response = await house.alice.call("GET", "/v1/me")
    del document["components"]["schemas"]["Me"]["properties"]["Email"]
    document["components"]["schemas"]["Me"]["required"].remove("Email")
    with pytest.raises(AssertionError, match="Email"):
        Conformance(document).check("GET", "/v1/me", response)
    refused = await house.alice.call("GET", "/v1/me", query={"colour": "red"})
    codes = document["paths"]["/me"]["get"]["responses"]["400"]["content"]["application/json"]["schema"]
    codes["properties"]["code"]["enum"].remove("unknown_argument")
    with pytest.raises(AssertionError, match="unknown_argument"):
        Conformance(document).check("GET", "/v1/me", refused)
    del document["paths"]["/me"]["get"]["responses"]["400"]
    with pytest.raises(AssertionError, match="not described"):
        Conformance(document).check("GET", "/v1/me", refused)


# --- codes ----------------------------------------------------------------------------------------------------------

#: Codes of what no caller of the public API can bring about: registration is not in it, and what a service
#: says of the gateway itself becomes ``upstream_refused``.
NOT_PUBLIC = {
    "caller_not_allowed",
    "caller_unknown",
    "identity_taken",
    "invalid_idempotency_key",
    "invalid_name",
    "malformed_request",
    "method_not_allowed",
    "name_taken",
    "no_such_path",
    "not_yours",
    # of a readiness check
    "schema_behind",
    "user_statement_invalid",
    # of pages
    "account_deleting",
    "invalid_profile",
    "login_state_mismatch",
    "no_such_provider",
    # of registration
    "name_reserved",
}


def raised_codes() -> set[str]:
    """Every code that is written down where an error is made."""
    found = set()
    places = [*(ROOT / "pkg").glob("*_manager/*.py"), *(ROOT / "pkg" / "runtime").glob("*.py")]
    places += [*(ROOT / "pkg" / "object_model").glob("*.py"), *(ROOT / "svc" / "api_gateway_service").glob("*.py")]
    for path in places:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                found.add(node.value.value)
    return {code for code in found if isinstance(code, str)}


def catalogued_codes() -> set[str]:
    codes = set()
    for value in vars(error_codes).values():
        if isinstance(value, ErrorCode):
            codes.add(value.code)
        elif isinstance(value, tuple):
            codes.update(error.code for error in value if isinstance(error, ErrorCode))
    return codes


def test_every_code_that_is_raised_is_catalogued() -> None:
    raised = raised_codes()
    assert {"unknown_argument", "link_exists", "invalid_start_token", "database_unavailable"} <= raised
    assert raised - catalogued_codes() - NOT_PUBLIC == set()


async def test_every_code_of_the_catalogue_is_told_somewhere(house: GatewayHouse) -> None:
    text = (await fetch(house, "/openapi.json")).body.decode()
    assert {code for code in catalogued_codes() if f'"{code}"' not in text} == set()


# --- the pages ------------------------------------------------------------------------------------------------------


async def test_the_front_door_names_the_documentation(house: GatewayHouse) -> None:
    welcome = (await fetch(house, "/")).json()
    assert (welcome["docs"], welcome["openapi"], welcome["err"]) == ("/docs", "/openapi.json", "")


async def test_the_page_needs_nothing_from_outside(house: GatewayHouse) -> None:
    page = await fetch(house, "/docs")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    html = page.body.decode()
    assert "//" not in html.replace("<!DOCTYPE html>", ""), "no address of another host"
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=", html), "nothing inline: the policy forbids it"
    loaded = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert len(loaded) == 5
    for path in loaded:
        asset = await fetch(house, path)
        assert asset.status == 200, path
        assert len(asset.body) > 100, path
        assert asset.headers["x-content-type-options"] == "nosniff"
    assert b"/openapi.json" in (await fetch(house, "/docs/start.js")).body
    script = (await fetch(house, "/docs/swagger-ui.js")).body
    assert b"SwaggerUIBundle" in script
    assert b"3.1" in script, "older ones cannot show OpenAPI 3.1"


async def test_the_page_has_a_strict_policy(house: GatewayHouse) -> None:
    for path in ("/docs", "/docs/start.js", "/openapi.json", "/"):
        policy = (await fetch(house, path)).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';"), path
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


async def test_answers_have_the_headers_that_browsers_go_by(house: GatewayHouse) -> None:
    refused = {"headers": {"X-Large": "a" * 40_000}}
    answers = [
        await house.alice.call("GET", "/v1/links"),
        await house.alice.call("GET", "/v1/nothing"),
        await house.alice.call("GET", "/v1/links", **refused),
        await house.gateway.call("GET", "/v1/links"),
    ]
    assert [answer.status for answer in answers] == [200, 404, 431, 401]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["x-request-id"]
    assert (await fetch(house, "/docs")).headers["cache-control"] == "public, max-age=300"

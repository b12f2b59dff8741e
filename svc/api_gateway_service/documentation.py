"""The API's documentation as pages: a program's, and a person's that needs nothing from the internet.

Swagger UI comes out of the package ``fastapi-swagger``, which carries its files and follows its releases. Only the
files are used: that package's page, like FastAPI's, has a script inline, which the policy here forbids.
"""

from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pkg.runtime.json import encode

_HTML: Final = "text/html; charset=utf-8"
_SCRIPT: Final = "text/javascript; charset=utf-8"
_STYLE: Final = "text/css; charset=utf-8"
_JSON: Final = "application/json"
#: The page may load what is served beside it and call the API, and nothing else.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PACKAGE: Final = "fastapi_swagger.resources"

_PAGE: Final = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Delinkcious API</title>
<link rel="icon" type="image/png" href="/docs/favicon.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; <a href="/openapi.json">the description itself</a> does not.</noscript>
<script src="/docs/swagger-ui.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START: Final = b"""SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
});
"""


def documentation_routes(document: dict[str, Any]) -> list[Route]:
    welcome = {"name": document["info"]["title"], "docs": "/docs", "openapi": "/openapi.json", "err": ""}
    return [
        Route("/", _page(encode(welcome), _JSON)),
        Route("/openapi.json", _page(encode(document), _JSON)),
        Route("/docs", _page(_PAGE, _HTML)),
        Route("/docs/start.js", _page(_START, _SCRIPT)),
        Route("/docs/swagger-ui.js", _asset("swagger-ui-bundle.js", _SCRIPT)),
        Route("/docs/swagger-ui.css", _asset("swagger-ui.css", _STYLE)),
        Route("/docs/favicon.png", _asset("favicon-32x32.png", "image/png")),
    ]


def _page(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "public, max-age=300"}

    async def serve(_http: Request) -> Response:
        return Response(content, media_type=media_type, headers=headers)

    return serve


def _asset(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    return _page((resources.files(_PACKAGE) / name).read_bytes(), media_type)

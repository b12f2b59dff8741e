"""What Schemathesis does not know by itself: who calls, and what an empty argument is. Named by ``SCHEMATHESIS_HOOKS``,
in a process of its own."""

import os
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData

from pkg.object_model.clock import SystemClock
from pkg.object_model.types import Actor
from pkg.runtime.access import ALLOWED_CALLERS
from pkg.runtime.caller_auth import EdgeCredentials
from pkg.runtime.mutual_auth import load_mutual_auth

#: The service that is asked; none for the gateway, to which a token goes with every request.
_SERVICE = os.environ.get("FUZZ_SERVICE", "")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Statements are good for a minute, so that each request has one of its own."""
    if not _SERVICE:
        return
    (operation,) = case.operation.tags
    caller = min(ALLOWED_CALLERS[_SERVICE][operation])
    secret = load_mutual_auth(f"{os.environ['FUZZ_CONFIG']}/{caller}/mutual-auth.yaml").presents[_SERVICE]
    actor = Actor(int(os.environ["FUZZ_USER_ID"]), os.environ["FUZZ_USER"])
    case.headers.update(EdgeCredentials(caller, _SERVICE, secret, SystemClock()).headers(actor))


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """An empty argument counts as not sent, whatever it stands for: its request may be accepted."""
    sent = parse_qsl(urlsplit(response.request.url).query, keep_blank_values=True)
    return not (isinstance(failure, AcceptedNegativeData) and any(value == "" for _, value in sent))

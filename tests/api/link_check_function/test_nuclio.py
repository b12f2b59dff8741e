"""The function as Nuclio's wrapper calls it, with Nuclio's own context, events and encoder (``nuclio-sdk``).

The wrapper itself comes with Nuclio's images and in no package: ``Wrapper`` does what its ``_nuclio_async_wrapper.py``
does with an event (in version 1.15), from what the processor sends to what is sent back to it.
"""

import importlib
import json
from base64 import b64decode
from collections.abc import Mapping
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import nuclio_sdk
import nuclio_sdk.event
import nuclio_sdk.json_encoder
import pytest
import yaml

from fun.link_checker import handler as module
from fun.link_checker.handler import close, prepare
from fun.link_checker.question import MAX_BATCH
from fun.link_checker.settings import LinkCheckFunctionSettings
from pkg.runtime.access import LINK_CHECK_FUNCTION, LINK_CHECKER
from pkg.runtime.settings import Mode
from tests.api.link_check_function.conftest import write_mutual_auth
from tests.internal_service import edge_secret

# Of the SDK's own making of events.
pytestmark = pytest.mark.filterwarnings("ignore:.*utcfromtimestamp:DeprecationWarning")

ROOT = Path(__file__).parents[3]
FUNCTION = yaml.safe_load((ROOT / "fun" / "link_checker" / "function.yaml").read_text())
TOKEN = edge_secret(LINK_CHECKER, LINK_CHECK_FUNCTION).token
#: As Go's HTTP server writes names.
SECRET = {"Delinkcious-Caller-Token": TOKEN}
CLOSED = {"Username": "alice", "Url": "http://10.0.0.1/"}
JSON = "application/json"


def as_bytes(value: Any) -> Any:
    """What msgpack makes of text where it is told to leave it undecoded."""
    match value:
        case str():
            return value.encode()
        case dict():
            return {as_bytes(key): as_bytes(inner) for key, inner in value.items()}
        case _:
            return value


class Wrapper:
    def __init__(self, handler: str, *, decodes_text: bool = True) -> None:
        module_name, _, name = handler.partition(":")
        self._entrypoint = getattr(importlib.import_module(module_name), name)
        assert iscoroutinefunction(self._entrypoint), "in asynchronous mode others are refused"
        self._decodes_text = decodes_text
        self._encoder = nuclio_sdk.json_encoder.Encoder()
        self.context = nuclio_sdk.Context(
            nuclio_sdk.Logger(0), None, 0, nuclio_sdk.TriggerInfo("http", "http"), logger_per_async_task=True
        )

    async def handle(
        self, body: bytes, headers: Mapping[str, str] = SECRET, content_type: str = JSON
    ) -> tuple[int, str, Any]:
        """Status, type and body of the answer that a caller would get."""
        sent = {
            "body": body,
            "content_type": content_type,
            "trigger": {"kind": "http", "name": "http"},
            "fields": {},
            "headers": {"Content-Type": content_type, **headers},
            "id": "7f1c",
            "method": "POST",
            "path": "/",
            "size": len(body),
            "timestamp": 1_700_000_000,
            "url": "/",
            "shard_id": -1,
            "num_shards": 0,
            "type": "",
            "type_version": "",
            "version": "",
        }
        kinds = nuclio_sdk.event.EventDeserializerKinds
        if self._decodes_text:
            event = nuclio_sdk.Event.deserialize(sent, kind=kinds.msgpack)
        else:
            event = nuclio_sdk.Event.deserialize(as_bytes(sent), kind=kinds.msgpack_raw)
        output = await self._entrypoint(self.context, event)
        response = nuclio_sdk.Response.from_entrypoint_output(self._encoder.encode, output)
        packet = json.loads(self._encoder.encode(response))
        content = packet["body"]
        if packet["body_encoding"] == "base64":
            content = b64decode(content).decode()
        return packet["status_code"], packet["content_type"], content


@pytest.fixture(params=[True, False], ids=["text", "bytes"])
async def wrapper(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """As function.yaml names the handler, and with all that ``init_context`` leaves in the context."""
    made = Wrapper(FUNCTION["spec"]["handler"], decodes_text=request.param)
    prepare(made.context, LinkCheckFunctionSettings(mode=Mode.LOCAL, mutual_auth_file=write_mutual_auth(tmp_path)))
    yield made
    await close(made.context)


async def test_a_link_is_looked_at(wrapper: Wrapper) -> None:
    status, content_type, body = await wrapper.handle(json.dumps(CLOSED).encode())
    assert (status, content_type) == (200, JSON)
    answer = json.loads(body)
    assert {name: answer[name] for name in ("Username", "Url", "Status", "Reason", "err")} == {
        **CLOSED,
        "Status": "pending",
        "Reason": "address_not_allowed",
        "err": "",
    }


async def test_whatever_the_body_is_said_to_be(wrapper: Wrapper) -> None:
    for content_type in ("", "text/plain", "application/json; charset=utf-8", "application/x-www-form-urlencoded"):
        status, _, _ = await wrapper.handle(json.dumps(CLOSED).encode(), content_type=content_type)
        assert status == 200, content_type


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "malformed_json"),
        (b"", "malformed_json"),
        (b"\xff\xfe", "malformed_json"),
        (b"null", "invalid_argument"),
        (b"7", "invalid_argument"),
        (b'"text"', "malformed_json"),
        (b'{"Username": "alice"}', "invalid_argument"),
        (b'{"Url": "http://host.example/"}', "invalid_argument"),
        (b'{"Username": "alice", "Url": ["http://host.example/"]}', "invalid_argument"),
        (b"[]", "invalid_argument"),
        (b'{"Checks": []}', "invalid_argument"),
    ],
)
async def test_bad_json_or_a_missing_field_is_a_400(wrapper: Wrapper, body: bytes, code: str) -> None:
    status, content_type, answer = await wrapper.handle(body)
    assert (status, content_type, json.loads(answer)["code"]) == (400, JSON, code)


async def test_many_at_once(wrapper: Wrapper) -> None:
    checks = [CLOSED, {"Username": "alice"}, CLOSED]
    status, _, body = await wrapper.handle(json.dumps(checks).encode())
    assert status == 200
    assert [answer.get("Reason") for answer in json.loads(body)] == ["address_not_allowed", None, "address_not_allowed"]
    status, _, body = await wrapper.handle(json.dumps({"Checks": checks}).encode())
    assert (status, len(json.loads(body)["checks"])) == (200, 3)
    status, content_type, body = await wrapper.handle(json.dumps({"Checks": checks, "Lines": True}).encode())
    assert (status, content_type) == (200, "application/x-ndjson")
    assert sorted(json.loads(line)["Index"] for line in body.splitlines()) == [0, 1, 2]
    assert (await wrapper.handle(json.dumps([CLOSED] * (MAX_BATCH + 1)).encode()))[0] == 400


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({}, (401, "caller_unknown")),
        ({"Delinkcious-Caller-Token": "wrong"}, (401, "caller_unknown")),
        ({"Delinkcious-Caller-Token": edge_secret("stranger", LINK_CHECK_FUNCTION).token}, (403, "caller_not_allowed")),
    ],
)
async def test_only_the_dispatcher_may_call(
    wrapper: Wrapper, headers: dict[str, str], refusal: tuple[int, str]
) -> None:
    status, _, body = await wrapper.handle(json.dumps(CLOSED).encode(), headers)
    answer = json.loads(body)
    assert (status, answer["code"]) == refusal
    assert "Traceback" not in body and answer["request_id"]


def test_a_worker_is_prepared_by_its_environment(tmp_path: Path) -> None:
    """Nuclio finds it beside the handler, by its name; what it raises keeps the worker from starting."""
    assert FUNCTION["spec"]["handler"].partition(":")[0] == module.__name__
    assert callable(module.init_context) and not iscoroutinefunction(module.init_context)


#: Of those that Nuclio documents (docs/reference/function-configuration), the ones that we may come to use.
DOCUMENTED: dict[str, set[str]] = {
    "spec": {
        *("description", "handler", "runtime", "image", "env", "envFrom", "volumes", "replicas", "minReplicas"),
        *("maxReplicas", "targetCPU", "triggers", "build", "runRegistry", "runtimeAttributes", "resources"),
        *("readinessTimeoutSeconds", "waitReadinessTimeoutBeforeFailure", "avatar", "eventTimeout"),
        *("securityContext", "serviceType", "affinity", "nodeSelector", "nodeName", "priorityClassName", "tolerations"),
        *("preemptionMode", "disableDefaultHTTPTrigger", "serviceAccount", "imagePullSecrets"),
    },
    "trigger": {
        *("kind", "url", "mode", "async", "numWorkers", "attributes", "annotations", "batch"),
        "workerAvailabilityTimeoutMilliseconds",
    },
    "async": {
        "minConnectionsNumber",
        "maxConnectionsNumber",
        "connectionAvailabilityTimeout",
        "connectionCreationMode",
    },
    "attributes": {"port", "ingresses", "serviceType", "maxRequestBodySize", "cors", "readBufferSize"},
    "build": {
        "path",
        "functionSourceCode",
        "registry",
        "noBaseImagePull",
        "noCache",
        "baseImage",
        "commands",
        "onbuildImage",
    },
}


def test_function_yaml_says_what_nuclio_knows() -> None:
    assert (FUNCTION["apiVersion"], FUNCTION["kind"]) == ("nuclio.io/v1beta1", "NuclioFunction")
    spec = FUNCTION["spec"]
    (trigger,) = spec["triggers"].values()
    for place, said in (
        ("spec", spec),
        ("trigger", trigger),
        ("async", trigger["async"]),
        ("attributes", trigger["attributes"]),
        ("build", spec["build"]),
    ):
        assert said.keys() <= DOCUMENTED[place], place
    assert spec["runtime"] == "python:3.12", "the newest that Nuclio has"
    # Two dispatchers, each with two lanes of 32: nobody waits for a connection.
    assert trigger["async"]["maxConnectionsNumber"] >= 2 * 2 * 32
    mounted = {volume["volumeMount"]["mountPath"] for volume in spec["volumes"]}
    for row in spec["env"]:
        if row["name"].endswith("_FILE"):
            assert str(Path(row["value"]).parent) in mounted

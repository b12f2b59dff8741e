"""Kubernetes' own schemas, strict: what they do not know is refused."""

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it brings no types
from referencing import Registry, Resource

from tests.manifests.objects import Object, label

_SCHEMAS: Final = files("kubernetes_validate") / "kubernetes-json-schema"
_STRICT: Final = "-local-strict"


def newest_versions(count: int) -> list[str]:
    """The newest versions of Kubernetes whose schemas are here, newest first."""
    names = [entry.name for entry in _SCHEMAS.iterdir() if entry.name.endswith(_STRICT)]
    versions = [name.removeprefix("v").removesuffix(_STRICT) for name in names]
    return sorted(versions, key=lambda version: [int(part) for part in version.split(".")], reverse=True)[:count]


def schema_faults(objects: Iterable[Object], version: str) -> list[str]:
    """Of what Kubernetes itself knows; for the rest there is ``published_types``."""
    return [
        f"{label(thing)}: {error.json_path}: {error.message[:200]}"
        for thing in objects
        if is_known(version, thing["apiVersion"], thing["kind"])
        for error in _validator(version, thing["apiVersion"], thing["kind"]).iter_errors(thing)
    ]


def is_known(version: str, api_version: str, kind: str) -> bool:
    """Whether it is a kind of Kubernetes' own."""
    group = api_version.rpartition("/")[0]
    own = "." not in group or group.endswith(".k8s.io")
    return own and (_SCHEMAS / f"v{version}{_STRICT}" / f"{_name(api_version, kind)}.json").is_file()


@cache
def _validator(version: str, api_version: str, kind: str) -> Draft202012Validator:
    return Draft202012Validator(_read(version, _name(api_version, kind)), registry=_registry(version))


def _name(api_version: str, kind: str) -> str:
    # networking.k8s.io/v1 is called networking-v1 there, apps/v1 is apps-v1.
    group, _, rest = api_version.rpartition("/")
    return f"{kind.lower()}-{group.partition('.')[0]}-{rest}" if group else f"{kind.lower()}-{rest}"


@cache
def _registry(version: str) -> "Registry[Any]":
    return Resource.from_contents(_read(version, "_definitions")) @ Registry()


def _read(version: str, name: str) -> Any:
    return json.loads((_SCHEMAS / f"v{version}{_STRICT}" / f"{name}.json").read_text())

"""One service's ``mutual-auth.yaml``: with what its callers come, and with what it goes to those that it calls.

::

    accepts: {<caller>: {token: ..., statement_key: ...}}
    presents: {<callee>: {token: ..., statement_key: ...}}

Each secret is one value, or while it is rotated a list of two: the callee takes either, the caller presents the first.
Both ends of an edge have the same.
"""

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from pkg.runtime.logs import get_logger
from pkg.runtime.start_error import StartError

MIN_SECRET_LENGTH: Final = 32
MAX_SECRET_LENGTH: Final = 512

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EdgeSecret:
    """What caller and callee of one edge share."""

    #: Presented by the caller.
    token: str = field(repr=False)
    #: Signs what the caller says of the end user.
    statement_key: str = field(repr=False)
    #: Accepted as well, while they are rotated; nothing otherwise.
    second_token: str = field(default="", repr=False)
    second_statement_key: str = field(default="", repr=False)

    @property
    def tokens(self) -> Sequence[str]:
        return [token for token in (self.token, self.second_token) if token]

    @property
    def statement_keys(self) -> Sequence[str]:
        return [key for key in (self.statement_key, self.second_statement_key) if key]


#: Of an edge on which nothing is presented: mutual authentication is off.
NO_SECRET: Final = EdgeSecret("", "")


@dataclass(frozen=True, slots=True)
class MutualAuth:
    """One service's side of its edges."""

    #: By caller: whom this service lets in.
    accepts: Mapping[str, EdgeSecret]
    #: By callee: as whom this service goes out.
    presents: Mapping[str, EdgeSecret]


def new_secret() -> str:
    """A token, key or password: 256 random bits."""
    return base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()


def render_edge(tokens: Sequence[str], statement_keys: Sequence[str]) -> dict[str, str | list[str]]:
    """What stands in the file under a caller's or a callee's name: one value or two of each."""
    return {"token": _render(tokens), "statement_key": _render(statement_keys)}


def load_mutual_auth(path: str | Path) -> MutualAuth:
    """
    Raises:
        StartError: it is missing, unreadable or empty; a secret is missing, short, well known or used twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise StartError(
            f"cannot read the mutual authentication file {path}: {reason}; mount it there, or name "
            "another place in DELINKCIOUS_MUTUAL_AUTH_FILE"
        ) from None
    try:
        content: Any = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise StartError(f"{path}: is not valid YAML{where}") from None
    if not isinstance(content, dict) or not content:
        raise StartError(f"{path}: is empty; it must hold accepts and presents")
    unknown = sorted(str(key) for key in content.keys() - {"accepts", "presents"})
    if unknown:
        raise StartError(f"{path}: has {', '.join(unknown)}, which nothing reads; only accepts and presents are known")
    accepts = _read_edges(path, "accepts", content.get("accepts"))
    presents = _read_edges(path, "presents", content.get("presents"))
    secrets = [
        secret for edge in (*accepts.values(), *presents.values()) for secret in (*edge.tokens, *edge.statement_keys)
    ]
    if len(set(secrets)) != len(secrets):
        raise StartError(f"{path}: a secret is used twice; every edge needs a token and a statement_key of its own")
    if mode & 0o007:
        _log.warning("the mutual authentication file is open to every user of the machine", mode=oct(mode & 0o777))
    return MutualAuth(accepts, presents)


def _read_edges(path: Path, section: str, content: object) -> dict[str, EdgeSecret]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise StartError(f"{path}: {section} must map names of services to their secrets")
    edges: dict[str, EdgeSecret] = {}
    for peer, secrets in content.items():
        place = f"{path}: {section}.{peer}"
        if not isinstance(peer, str) or not isinstance(secrets, dict):
            raise StartError(f"{place} must hold token and statement_key")
        token, second_token = _read_secrets(f"{place}.token", secrets.get("token"))
        key, second_key = _read_secrets(f"{place}.statement_key", secrets.get("statement_key"))
        edges[peer] = EdgeSecret(token, key, second_token, second_key)
    return edges


def _read_secrets(place: str, content: object) -> tuple[str, str]:
    """The second one is empty where there is none."""
    values = content if isinstance(content, list) else [content]
    if len(values) not in (1, 2):
        raise StartError(f"{place} must be one secret, or two while it is rotated")
    first, *second = (_read_secret(place, value) for value in values)
    return first, "".join(second)


def _read_secret(place: str, value: object) -> str:
    if value is None or value == "":
        raise StartError(f"{place} is missing; make a random one of at least {MIN_SECRET_LENGTH} characters")
    if (
        not isinstance(value, str)
        or not MIN_SECRET_LENGTH <= len(value) <= MAX_SECRET_LENGTH
        # "aaaa..." and "123123...": long enough, and known to everybody all the same.
        or len(set(value)) < 8
        or not value.isascii()
        or not value.isprintable()
        or " " in value
    ):
        raise StartError(
            f"{place} is not a secret; make a random one of at least {MIN_SECRET_LENGTH} printable ASCII characters"
        )
    return value


def _render(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)

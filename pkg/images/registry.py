"""Asks a registry of images for a digest (https://github.com/opencontainers/distribution-spec, "Pulling manifests")."""

import base64
import hashlib
import http.client
import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from email.message import Message
from itertools import chain
from pathlib import Path
from typing import Final

from pkg.images.pins import Pin
from pkg.runtime.start_error import StartError

#: Seconds for one answer.
TIMEOUT: Final = 30.0
#: Bytes; an index of a dozen platforms has some 10,000.
MAX_ANSWER: Final = 4 * 1024**2
#: The index of all platforms before the manifest of one.
_MANIFESTS: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"')


def ask_digest(pin: Pin, address: str = "") -> str:
    """The digest that the tag has now, computed over what the registry sent.

    ``address`` is a URL: of the registry, where it does not answer at the host in its images' names, or of a mirror.

    Raises:
        StartError: the registry has no such image, cannot be reached, or its answer is none.
    """
    host, _, repository = pin.reference.partition("/")
    digest = _find(address or _address_of(host), re.split("[:@]", repository)[0], pin.tag, login="")
    if digest is None:
        raise StartError(f"{pin.name}: the registry has no tag {pin.tag}; correct it in the file of pins")
    return digest


def find_digest(name: str, tag: str, login: str = "", address: str = "") -> str | None:
    """The digest of an image of ours, whose name begins with its registry; None if that has no such tag.

    ``login`` is as an engine keeps it: name and password, in Base64. ``address`` is as that of ``ask_digest``.

    Raises:
        StartError: the registry cannot be reached, or does not let us see.
    """
    host, _, repository = name.partition("/")
    return _find(address or _address_of(host), repository, tag, login)


def read_login(host: str, environment: Mapping[str, str]) -> str:
    """What an engine has kept of a login there, or empty (containers-auth.json(5), which Docker reads as well)."""
    home = environment.get("HOME", "/")
    places = (
        environment.get("REGISTRY_AUTH_FILE"),
        f"{environment.get('XDG_RUNTIME_DIR', '/nonexistent')}/containers/auth.json",
        f"{environment.get('DOCKER_CONFIG', f'{home}/.docker')}/config.json",
    )
    # Docker keeps that of its own registry under the address of the index before this one.
    names = (host, f"https://index.{host}/v1/")
    for place in places:
        try:
            kept = json.loads(Path(place or "").read_bytes())
            logins = [str(kept.get("auths", {}).get(name, {}).get("auth", "")) for name in names]
            keeper = kept.get("credHelpers", {}).get(host) or kept.get("credsStore")
        except (OSError, ValueError, AttributeError):
            continue
        asked = (_ask_keeper(keeper, name, environment) for name in names if keeper)
        if login := next(filter(None, chain(logins, asked)), ""):
            return login
    return ""


def _address_of(host: str) -> str:
    # As engines do, who trust a registry on the machine itself.
    scheme = "http" if host.partition(":")[0] in ("localhost", "127.0.0.1") else "https"
    return f"{scheme}://{host}"


def _ask_keeper(keeper: str, name: str, environment: Mapping[str, str]) -> str:
    """A program that keeps logins for Docker (https://github.com/docker/docker-credential-helpers)."""
    command = [f"docker-credential-{keeper}", "get"]
    try:
        done = subprocess.run(
            command, input=name, env=dict(environment), capture_output=True, text=True, check=True, timeout=TIMEOUT
        )
        told = json.loads(done.stdout)
        return base64.b64encode(f"{told['Username']}:{told['Secret']}".encode()).decode()
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return ""


def _find(base: str, repository: str, tag: str, login: str) -> str | None:
    url = f"{base.rstrip('/')}/v2/{repository}/manifests/{urllib.parse.quote(tag)}"
    accepted = {"Accept": ", ".join(_MANIFESTS)}
    status, headers, body = _get(url, accepted)
    if status == http.client.UNAUTHORIZED:
        permit = _ask_permit(headers.get("WWW-Authenticate", ""), repository, login)
        status, headers, body = _get(url, {**accepted, "Authorization": permit})
    if status == http.client.NOT_FOUND:
        return None
    if status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
        raise StartError(f"{repository}: {url} answered {status}; log in to that registry first")
    if status != http.client.OK:
        raise StartError(f"{repository}: {url} answered {status}; try again later")
    if headers.get_content_type() not in _MANIFESTS:
        raise StartError(
            f"{repository}: {url} answered with {headers.get_content_type()}, which is no image; where the registry"
            " answers at another address than images' names say (Docker Hub does), give it with --registry"
        )
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    told = headers.get("Docker-Content-Digest", digest)
    if told != digest:
        raise StartError(f"{repository}: the registry names {told} and sends {digest}; something changes its answers")
    return digest


def _ask_permit(challenge: str, repository: str, login: str) -> str:
    """What to send as authorization."""
    basic = {"Authorization": f"Basic {login}"} if login else {}
    if basic and challenge.lower().startswith("basic "):
        return basic["Authorization"]
    return f"Bearer {_ask_token(challenge, repository, basic)}"


def _ask_token(challenge: str, repository: str, basic: dict[str, str]) -> str:
    """A token, for anybody if there is no login, from where the registry says (https://distribution.github.io/distribution/spec/auth/token/)."""
    words = dict(_CHALLENGE.findall(challenge))
    realm = words.pop("realm", "")
    if not challenge.lower().startswith("bearer ") or not realm:
        raise StartError(f"{repository}: the registry wants a login of a kind that is not known here: {challenge!r}")
    query = {"scope": f"repository:{repository}:pull", **words}
    status, _, body = _get(f"{realm}?{urllib.parse.urlencode(query)}", basic)
    try:
        answer = json.loads(body)
        return str(answer.get("token") or answer["access_token"])
    except (ValueError, KeyError, AttributeError):
        raise StartError(f"{repository}: {realm} answered {status} without a token; try again later") from None


def _get(url: str, headers: dict[str, str]) -> tuple[int, Message, bytes]:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise StartError(f"{url} is no address of a registry; it must begin with https://")
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  # looked at in the line above
    try:
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310  # likewise
                return answer.status, answer.headers, answer.read(MAX_ANSWER)
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.headers, refusal.read(MAX_ANSWER)
    except (OSError, http.client.HTTPException) as fault:
        raise StartError(f"{url} cannot be reached: {getattr(fault, 'reason', fault)}") from None

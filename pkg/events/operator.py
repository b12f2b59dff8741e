"""Where an operator's programs find NATS, and as whom they get in: the environment, or a local stack that runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pkg.events.settings import USUAL_PORT, NatsAddress
from pkg.runtime.secret import Password, Secret
from pkg.runtime.settings import is_local
from pkg.runtime.start_error import StartError

ADMINISTRATOR: Final = "administrator"
#: For the help texts of programs.
VARIABLES: Final = """\
  NATS_CLUSTER_SERVICE_HOST          where NATS is
  NATS_CLUSTER_SERVICE_PORT          4222, unless set
  NATS_ADMINISTRATOR                 the user who may do anything; administrator, unless set
  NATS_ADMINISTRATOR_PASSWORD_FILE   the file with that user's password
  NATS_TLS                           true if the connection is encrypted"""


def read_nats_address(environment: Mapping[str, str]) -> NatsAddress:
    """
    Raises:
        StartError: a variable is missing or wrong; one fault for each.
    """
    faults = []
    host = environment.get("NATS_CLUSTER_SERVICE_HOST", "")
    if not host:
        faults.append("NATS_CLUSTER_SERVICE_HOST is not set; set it to the host of NATS")
    port = environment.get("NATS_CLUSTER_SERVICE_PORT") or str(USUAL_PORT)
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65_535):
        faults.append(f"NATS_CLUSTER_SERVICE_PORT: {port!r} is not a port")
    tls = (environment.get("NATS_TLS") or "false").lower()
    if tls not in {"true", "false"}:
        faults.append("NATS_TLS must be true or false")
    password: Password = ""
    path = environment.get("NATS_ADMINISTRATOR_PASSWORD_FILE")
    if path:
        try:
            password = Secret.in_file(Path(path), relaxed=is_local(environment))
        except StartError as error:
            faults += [f"NATS_ADMINISTRATOR_PASSWORD_FILE: {fault}" for fault in error.faults]
    else:
        faults.append("NATS_ADMINISTRATOR_PASSWORD_FILE is not set; set it to the file with the password")
    if faults:
        raise StartError(*faults)
    return NatsAddress(host, int(port), environment.get("NATS_ADMINISTRATOR") or ADMINISTRATOR, password, tls == "true")


def read_ready_file(data: Path) -> dict[str, Any]:
    """What a local stack says about itself.

    Raises:
        StartError: none runs there.
    """
    try:
        ready: dict[str, Any] = json.loads((data / "ready.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StartError(f"no system runs on {data}; start it with `make up`, or name its folder with --data") from None
    except (OSError, ValueError) as error:
        raise StartError(f"cannot read {data / 'ready.json'}: {error}") from None
    return ready


def nats_of_stack(ready: Mapping[str, Any]) -> NatsAddress:
    """
    Raises:
        StartError: a file that it names cannot be read.
    """
    nats = ready["nats"]
    place = urlsplit(nats["url"])
    user = nats.get("user", ADMINISTRATOR)
    file = nats.get("password_file") or nats.get("password_files", {}).get(user)
    password = Secret.in_file(Path(file), relaxed=True) if file else ""
    return NatsAddress(place.hostname or "", place.port or USUAL_PORT, user, password, place.scheme == "tls")

"""A whole system with a proxy on every way between its processes, and as many replicas as wanted.

``python -m tests.faults.system`` is `cmd/up.py` with that, told of settings by its arguments; ``running_system`` starts
and stops both programs.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pkg.local_stack.stack import StackOptions, run_stack
from pkg.runtime.access import LINK_CHECKER, LINK_MANAGER, NEWS_MANAGER, SOCIAL_GRAPH_MANAGER
from pkg.runtime.logs import configure_logs
from pkg.runtime.start_error import StartError
from tests.e2e.stack import ROOT, Stack, running_stack
from tests.faults.proxy import ProxyControl

#: Those that publish or work on events.
REPLICATED: Final = (LINK_MANAGER, SOCIAL_GRAPH_MANAGER, NEWS_MANAGER, LINK_CHECKER)
_START_DEADLINE: Final = 20.0


@contextmanager
def running_system(
    folder: Path, replicas: int = 1, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[Stack, ProxyControl]]:
    # A socket's path may be 107 bytes long at most.
    with tempfile.TemporaryDirectory(prefix="dlk") as short:
        path = Path(short) / "proxy"
        command = [sys.executable, "-m", "tests.faults.proxy", str(path)]
        # Ctrl-C is ours: the system stops first.
        with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as proxy:
            try:
                control = _connect(proxy, path)
                with running_stack(
                    folder / "data",
                    program=("-m", "tests.faults.system"),
                    options=(
                        *("--proxy", str(path), "--replicas", str(replicas)),
                        *(word for name, value in (environment or {}).items() for word in ("--set", f"{name}={value}")),
                    ),
                ) as stack:
                    yield stack, control
            finally:
                proxy.terminate()


def _connect(proxy: "subprocess.Popen[bytes]", path: Path) -> ProxyControl:
    deadline = time.monotonic() + _START_DEADLINE
    while True:
        try:
            return ProxyControl(path)
        except OSError:
            if proxy.poll() is not None or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--gateway-port", type=int, default=0)
    parser.add_argument("--proxy", type=Path, required=True)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[])
    arguments = parser.parse_args()
    environment = {"PATH": os.environ["PATH"], "LINK_CHECKER_CONFINED": "true"}
    environment |= dict(setting.split("=", 1) for setting in arguments.set)
    configure_logs("up", "error")
    options = StackOptions(
        data=arguments.data,
        gateway_port=arguments.gateway_port,
        replicas=dict.fromkeys(REPLICATED, arguments.replicas),
        reach=ProxyControl(arguments.proxy).open,
    )
    try:
        return run_stack(options, environment, sys.stdout)
    except StartError as error:
        print(*error.faults, sep="\n", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

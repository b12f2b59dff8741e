"""kubectl, as a program (https://kubernetes.io/docs/reference/kubectl/)."""

import subprocess
from typing import Final

from pkg.runtime.start_error import StartError

#: Seconds.
_PATIENCE: Final = 60


def ask_kubectl(*words: str, context: str = "", content: str = "") -> str:
    """What it answers. ``context`` is a cluster, as kubectl calls it, or the one that it is set to; ``content`` is what
    it reads.

    Raises:
        StartError: there is none, or it does not answer in time, or fails.
    """
    command = ["kubectl", *(["--context", context] if context else []), *words]
    try:
        done = subprocess.run(command, input=content, capture_output=True, text=True, check=False, timeout=_PATIENCE)
    except FileNotFoundError:
        raise StartError("there is no kubectl, and a cluster is to be asked; install it") from None
    except subprocess.TimeoutExpired:
        raise StartError(f"kubectl {' '.join(words[:3])}: no answer within {_PATIENCE} seconds") from None
    if done.returncode:
        raise StartError(f"kubectl: {' '.join(done.stderr.split()) or done.returncode}")
    return done.stdout

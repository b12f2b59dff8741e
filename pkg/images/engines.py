"""The engines that we can build with, and which of them is there."""

import shutil
from collections.abc import Mapping
from typing import Final

from pkg.images.buildah import Buildah
from pkg.images.engine import Engine
from pkg.images.podman import Podman
from pkg.runtime.start_error import StartError

ENGINES: Final[Mapping[str, type[Engine]]] = {"docker": Engine, "podman": Podman, "buildah": Buildah}


def choose_engine(asked: str | None) -> Engine:
    """The one that is asked for, or the first that answers.

    Raises:
        StartError: none does.
    """
    for command in [asked] if asked else ENGINES:
        engine = ENGINES[command](command)
        if shutil.which(command) and not engine.run("info").returncode:
            return engine
    raise StartError(
        f"{asked or ', '.join(ENGINES)}: none can be used; install one and see that `{asked or 'docker'} info` works"
    )

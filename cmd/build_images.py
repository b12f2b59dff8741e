#!/usr/bin/env python3
"""Builds the images of the system, each with a bill of materials, and says how large they are.

With Docker, Podman or Buildah, whichever answers. What they stand on is in k8s/components/pins (see cmd/pin_images.py).
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from pkg.images.builder import Builder, Circumstances, Order, name_image  # noqa: E402  # after the line above, as the rest
from pkg.images.catalogue import IMAGES, choose_images  # noqa: E402
from pkg.images.engines import ENGINES, choose_engine  # noqa: E402
from pkg.images.pins import choose_base  # noqa: E402
from pkg.runtime.start_error import StartError  # noqa: E402


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    names = [image.name for image in IMAGES]
    parser.add_argument(
        "--only", metavar="NAME", action="append", choices=names, help="this one alone; may be repeated (%(choices)s)"
    )
    parser.add_argument("--tag", default="dev", help="of the images (%(default)s, which is the Minikube overlay's)")
    parser.add_argument("--prefix", default="", help="in front of each name, such as ghcr.io/you")
    parser.add_argument("--base", metavar="IMAGE", help="stand on this one instead of the one that is pinned")
    parser.add_argument(
        "--release", action="store_true", help="refuse what could not be built again: an unresolved pin, changed files"
    )
    parser.add_argument("--engine", choices=ENGINES, help="instead of the first that answers")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many at once (%(default)s)")
    parser.add_argument("--pip-config", metavar="FILE", type=Path, help="pip.conf for the build; not kept in an image")
    parser.add_argument(
        "--option",
        metavar="OPTION",
        action="append",
        default=[],
        help="passed on to the engine's build; may be repeated",
    )
    parser.add_argument(
        "--materials", metavar="DIR", type=Path, default=ROOT / "build" / "materials", help="of the bills (%(default)s)"
    )
    return parser.parse_args(words)


def git(*arguments: str) -> str:
    """Empty where there is no Git, or no repository."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def read_revision(release: bool) -> tuple[str, datetime]:
    """The commit, and its time: the same code makes the same image, whenever it is built."""
    commit, changed = git("rev-parse", "HEAD"), git("status", "--porcelain")
    if release and (changed or not commit):
        raise StartError("--release: there are changes that are not committed; commit or remove them")
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct") or time.time())
    return (commit or "unknown") + ("-changed" if changed else ""), datetime.fromtimestamp(seconds, UTC)


def circumstances(arguments: argparse.Namespace) -> Circumstances:
    revision, created = read_revision(arguments.release)
    return Circumstances(
        root=ROOT,
        base=choose_base(arguments.base, release=arguments.release),
        revision=revision,
        created=created,
        materials=arguments.materials,
        jobs=arguments.jobs,
        pip_config=arguments.pip_config,
        options=arguments.option,
    )


def main(words: Sequence[str]) -> int:
    arguments = read_arguments(words)
    try:
        builder = Builder(choose_engine(arguments.engine), circumstances(arguments), partial(print, flush=True))
        builder.build(
            [
                Order(image=image, reference=name_image(arguments.prefix, image, arguments.tag))
                for image in choose_images(arguments.only or [])
            ]
        )
    except StartError as error:
        for fault in error.faults:
            print(f"build_images: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

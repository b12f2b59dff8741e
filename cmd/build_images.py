#!/usr/bin/env python3
"""Builds the images of the system, each with a bill of materials, and says how large they are.

With Docker or Podman, whichever answers. What they stand on is in k8s/components/pins (see cmd/pin_images.py).
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from pkg.images.bill_of_materials import describe  # noqa: E402  # after the line above, as the rest
from pkg.images.catalogue import IMAGES, Image, choose_images  # noqa: E402
from pkg.images.engine import ENGINES, Engine, choose_engine  # noqa: E402
from pkg.images.pins import choose_base  # noqa: E402
from pkg.runtime.start_error import StartError  # noqa: E402
from pkg.runtime.version import package_version  # noqa: E402

#: Bytes that an image may have over what it stands on.
MAX_SIZE = 100 * 1000**2
SOURCE = "https://github.com/the-gigi/delinkcious"


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


class Builder:
    def __init__(self, engine: Engine, base: str, arguments: argparse.Namespace) -> None:
        self._engine = engine
        engine.pull(base)
        self._base = base
        self._base_size = engine.size(base)
        self._arguments = arguments
        self._revision, created = read_revision(arguments.release)
        self._labels = {
            "org.opencontainers.image.version": package_version(),
            "org.opencontainers.image.revision": self._revision,
            "org.opencontainers.image.created": created.isoformat().replace("+00:00", "Z"),
            "org.opencontainers.image.source": SOURCE,
            "org.opencontainers.image.base.name": base,
        }
        self._options = list(arguments.option)
        if arguments.pip_config:
            self._options += ["--secret", f"id=pip,src={arguments.pip_config}"]
        if engine.command == "podman":
            # One layer a stage where each layer is a copy of all below it.
            shared = str(engine.shares_layers()).lower()
            self._options += [f"--layers={shared}", f"--timestamp={int(created.timestamp())}"]

    def build(self, images: Sequence[Image]) -> None:
        """
        Raises:
            StartError: one cannot be built, or is too large.
        """
        print(f"base: {self._base}, {self._base_size / 1000**2:.1f} MB", flush=True)
        # The first one alone makes what all have in common.
        sizes = [self._build(image) for image in images[:1]]
        with ThreadPoolExecutor(self._arguments.jobs) as pool:
            sizes += pool.map(self._build, images[1:])
        too_large = [
            f"{image.name}: {size / 1000**2:.1f} MB over its base; at most {MAX_SIZE / 1000**2:g}"
            for image, size in zip(images, sizes, strict=True)
            if size > MAX_SIZE
        ]
        if too_large:
            raise StartError(*too_large)

    def _build(self, image: Image) -> int:
        """Gives the bytes that it has over its base."""
        prefix = self._arguments.prefix.rstrip("/")
        reference = f"{prefix}/{image.repository}" if prefix else image.repository
        reference += f":{self._arguments.tag}"
        began = time.monotonic()
        print(f"{reference}: building", flush=True)
        labels = {
            "org.opencontainers.image.title": image.repository,
            "org.opencontainers.image.description": image.description,
            **self._labels,
        }
        self._engine.build(
            ROOT,
            reference,
            target=image.target,
            arguments={"BASE": self._base, "REVISION": self._revision, **image.build_arguments},
            labels=labels,
            options=self._options,
        )
        bill = self._arguments.materials / f"{image.repository}.cdx.json"
        bill.parent.mkdir(parents=True, exist_ok=True)
        bill.write_text(describe(self._engine, reference, labels), encoding="utf-8")
        size = self._engine.size(reference) - self._base_size
        print(
            f"{reference}: {size / 1000**2:.1f} MB over the base, {time.monotonic() - began:.0f} s, {bill.name}",
            flush=True,
        )
        return size


def main(words: Sequence[str]) -> int:
    arguments = read_arguments(words)
    try:
        base = choose_base(arguments.base, release=arguments.release)
        engine = choose_engine(arguments.engine)
        Builder(engine, base, arguments).build(choose_images(arguments.only or []))
    except StartError as error:
        for fault in error.faults:
            print(f"build_images: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

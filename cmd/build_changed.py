#!/usr/bin/env python3
"""Builds those images that have changed since the branch's last build, as ./build.sh, and pushes them if told to.

What was built last, and from what, stands in k8s/releases/staging: an image whose sources are the same is left alone,
unless --prefix names another place than the one it is at.
The sources are the image's own folder, the modules that it imports, its locked requirements, the recipe, and what it
stands on. A tag is 0.1.COMMITS-COMMIT and never moves: one that is there with other content is refused.

With --push, which works on the main branch alone, the digests are written into that file, and committed: Argo CD brings
them to staging. Without it nothing is written, and an image that this machine has built already is not built again.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from pkg.images.builder import Builder, Circumstances, Order, name_image  # noqa: E402  # after the line above, as the rest
from pkg.images.catalogue import IMAGES, choose_images, name_repository  # noqa: E402
from pkg.images.changed import Changed, find_changed, refuse_older  # noqa: E402
from pkg.images.checkout import Checkout  # noqa: E402
from pkg.images.engine import Engine  # noqa: E402
from pkg.images.engines import ENGINES, choose_engine  # noqa: E402
from pkg.images.pins import choose_base  # noqa: E402
from pkg.images.registry import find_digest, read_login  # noqa: E402
from pkg.images.releases import STAGING, Built, read_release, write_release  # noqa: E402
from pkg.runtime.start_error import StartError  # noqa: E402
from pkg.runtime.version import package_version  # noqa: E402

#: What an image was built from.
SOURCE_LABEL = "delinkcious.source"

say = partial(print, flush=True)


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="build.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    names = [image.name for image in IMAGES]
    parser.add_argument("--dry-run", action="store_true", help="say what would be built, and why; do nothing")
    parser.add_argument("--push", action="store_true", help="push what is built, and commit its digests (main alone)")
    parser.add_argument("--prefix", default="", help="in front of each name, such as ghcr.io/you; --push needs it")
    parser.add_argument(
        "--registry", metavar="URL", default="", help="where it answers, if not at the host in --prefix, as Docker Hub"
    )
    parser.add_argument(
        "--platform",
        metavar="LIST",
        type=lambda text: sorted(set(text.split(","))),
        default=[],
        help="under one name images for all of these, as linux/amd64,linux/arm64; refused if the engine cannot",
    )
    parser.add_argument(
        "--only", metavar="NAME", action="append", choices=names, help="this one alone; may be repeated (%(choices)s)"
    )
    parser.add_argument("--base", metavar="IMAGE", help="stand on this one instead of the one that is pinned")
    parser.add_argument("--branch", default="main", help="from which images are pushed (%(default)s)")
    parser.add_argument("--engine", choices=ENGINES, help="instead of the first that answers")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many at once (%(default)s)")
    parser.add_argument("--pip-config", metavar="FILE", type=Path, help="pip.conf for the build; not kept in an image")
    parser.add_argument(
        "--option", metavar="OPTION", action="append", default=[], help="passed on to the engine; may be repeated"
    )
    parser.add_argument(
        "--materials", metavar="DIR", type=Path, default=ROOT / "build" / "materials", help="of the bills (%(default)s)"
    )
    arguments = parser.parse_args(words)
    if arguments.push and not arguments.prefix:
        parser.error("--push: to which registry? name it with --prefix")
    if arguments.platform and not arguments.push:
        parser.error("--platform: images of several processors can be pushed alone; add --push")
    return arguments


class Build:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._checkout = Checkout(ROOT)
        self._base = choose_base(arguments.base, release=arguments.push)
        self._recorded = read_release(ROOT / STAGING)
        self._tag = self._checkout.version(package_version().rpartition(".")[0])

    def run(self) -> None:
        """
        Raises:
            StartError: it is refused, or fails.
        """
        if self._arguments.push:
            self._refuse_push()
        images = choose_images(self._arguments.only or [])
        circumstances = (self._base, *self._arguments.platform)
        changed = find_changed(self._checkout, images, self._recorded, self._arguments.prefix, *circumstances)
        for name in sorted({image.name for image in images} - {one.image.name for one in changed}):
            say(f"{name}: as {self._recorded[name].tag}")
        for one in changed:
            say(f"{one.image.name}: {self._tag}, {one.reason}")
        if self._arguments.dry_run or not changed:
            return
        # A tag names a commit: what is not in it must not be in the image.
        if changes := self._checkout.changed():
            raise StartError(f"{', '.join(changes[:3])}: changed and not committed; commit or remove it (or --dry-run)")
        engine = choose_engine(self._arguments.engine)
        if self._arguments.push:
            self._publish(engine, changed)
        else:
            self._build(engine, changed)

    def _refuse_push(self) -> None:
        branch, wanted = self._checkout.branch(), self._arguments.branch
        if branch != wanted:
            raise StartError(f"--push: images are pushed from {wanted}, and this is {branch or 'no branch'}")
        refuse_older(self._checkout, self._recorded)

    def _build(self, engine: Engine, changed: Sequence[Changed]) -> None:
        missing = []
        for one in changed:
            if here := engine.labelled(SOURCE_LABEL, one.source):
                say(f"{here[0]}: is here already")
            else:
                missing.append(one)
        self._make(engine, missing)

    def _publish(self, engine: Engine, changed: Sequence[Changed]) -> None:
        if lacking := sorted(set(self._arguments.platform) - engine.platforms()):
            raise StartError(
                f"--platform {lacking[0]}: {engine.command} cannot build for it; it needs an emulator (the package"
                " qemu-user-static), or Docker a builder of several platforms (docker buildx create --use)"
            )
        published = {one.image.name: digest for one in changed if (digest := self._find(engine, one))}
        missing = [one for one in changed if one.image.name not in published]
        builder = self._make(engine, missing)
        release = dict(self._recorded)
        for one in changed:
            order = self._order(one)
            digest = published.get(one.image.name) or self._push(engine, builder, order)
            name = name_repository(self._arguments.prefix, one.image)
            release[one.image.name] = Built(name, self._tag, digest, one.source)
            say(f"{order.reference}: {digest}")
        write_release(ROOT / STAGING, release)
        names = ", ".join(one.image.name for one in changed)
        # It changes nothing that could be built or tested.
        self._checkout.record(f"Staging runs {self._tag} of {names} [skip ci]", STAGING)
        say(f"{STAGING}: committed as {self._checkout.commit()[:12]}; push it")

    def _find(self, engine: Engine, one: Changed) -> str:
        """The digest of an image that an earlier run has pushed, and lost before it was written down; empty if none."""
        reference = self._order(one).reference
        name, _, tag = reference.rpartition(":")
        login = read_login(name.partition("/")[0], os.environ)
        digest = find_digest(name, tag, login, self._arguments.registry)
        if not digest:
            return ""
        engine.pull_again(reference)
        self._refuse_other(engine, one)
        say(f"{reference}: is published already")
        return digest

    def _push(self, engine: Engine, builder: Builder, order: Order) -> str:
        say(f"{order.reference}: pushing")
        if self._arguments.platform:
            return engine.publish_for(self._arguments.platform, builder.recipe(order), order.reference)
        return engine.push(order.reference)

    def _make(self, engine: Engine, wanted: Sequence[Changed]) -> Builder:
        about = Circumstances(
            root=ROOT,
            base=self._base,
            revision=self._checkout.commit(),
            created=self._checkout.committed_at(),
            materials=self._arguments.materials,
            jobs=self._arguments.jobs,
            pip_config=self._arguments.pip_config,
            options=self._arguments.option,
        )
        builder = Builder(engine, about, say)
        here = [one for one in wanted if engine.has(self._order(one).reference)]
        for one in here:
            self._refuse_other(engine, one)
        orders = [self._order(one) for one in wanted if one not in here]
        if orders:
            builder.build(orders)
        return builder

    def _refuse_other(self, engine: Engine, one: Changed) -> None:
        reference = self._order(one).reference
        if engine.label(reference, SOURCE_LABEL) != one.source:
            raise StartError(
                f"{reference}: is there with other content, and a tag never moves; remove it, or commit something"
            )

    def _order(self, one: Changed) -> Order:
        reference = name_image(self._arguments.prefix, one.image, self._tag)
        return Order(image=one.image, reference=reference, labels={SOURCE_LABEL: one.source})


def main(words: Sequence[str]) -> int:
    try:
        Build(read_arguments(words)).run()
    except StartError as error:
        for fault in error.faults:
            print(f"build.sh: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

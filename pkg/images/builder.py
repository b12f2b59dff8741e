"""Builds images of ours, each with a bill of materials, and holds them to their size."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from pkg.images.bill_of_materials import describe
from pkg.images.catalogue import Image, name_repository
from pkg.images.engine import Engine, Recipe
from pkg.images.podman import Podman
from pkg.runtime.start_error import StartError
from pkg.runtime.version import package_version

#: Bytes that an image may have over what it stands on.
MAX_SIZE: Final = 100 * 1000**2
_SOURCE: Final = "https://github.com/the-gigi/delinkcious"


@dataclass(frozen=True, kw_only=True)
class Order:
    """One image that is wanted."""

    image: Image
    #: Its name and tag.
    reference: str
    #: Besides those that every image of ours has.
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What images are built from, and what is the same for all of them."""

    root: Path
    base: str
    #: The commit, for people to find.
    revision: str
    #: The commit's time: the same code makes the same image, whenever it is built.
    created: datetime
    #: Where bills of materials are written.
    materials: Path
    #: So many at once.
    jobs: int = 1
    #: A pip.conf for the build; not kept in an image.
    pip_config: Path | None = None
    #: Passed on to the engine.
    options: Sequence[str] = ()


class Builder:
    """``say`` is given a line for people."""

    def __init__(self, engine: Engine, circumstances: Circumstances, say: Callable[[str], None]) -> None:
        self._engine = engine
        self._circumstances = circumstances
        self._say = say
        engine.pull(circumstances.base)
        self._options = list(circumstances.options)
        if circumstances.pip_config:
            self._options += ["--secret", f"id=pip,src={circumstances.pip_config}"]
        if isinstance(engine, Podman):
            # One layer a stage where each layer is a copy of all below it.
            shared = str(engine.shares_layers()).lower()
            self._options += [f"--layers={shared}", f"--timestamp={int(circumstances.created.timestamp())}"]

    def build(self, orders: Sequence[Order]) -> None:
        """
        Raises:
            StartError: one cannot be built, or is too large.
        """
        base = self._circumstances.base
        self._say(f"base: {base}, {self._engine.size(base) / 1000**2:.1f} MB")
        # The first one alone makes what all have in common.
        sizes = [self._build(order) for order in orders[:1]]
        with ThreadPoolExecutor(self._circumstances.jobs) as pool:
            sizes += pool.map(self._build, orders[1:])
        too_large = [
            f"{order.image.name}: {size / 1000**2:.1f} MB over its base; at most {MAX_SIZE / 1000**2:g}"
            for order, size in zip(orders, sizes, strict=True)
            if size > MAX_SIZE
        ]
        if too_large:
            raise StartError(*too_large)

    def recipe(self, order: Order) -> Recipe:
        image, about = order.image, self._circumstances
        return Recipe(
            folder=about.root,
            target=image.target,
            arguments={"BASE": about.base, "REVISION": about.revision, **image.build_arguments},
            labels={
                "org.opencontainers.image.title": image.repository,
                "org.opencontainers.image.description": image.description,
                "org.opencontainers.image.version": package_version(),
                "org.opencontainers.image.revision": about.revision,
                "org.opencontainers.image.created": about.created.isoformat().replace("+00:00", "Z"),
                "org.opencontainers.image.source": _SOURCE,
                "org.opencontainers.image.base.name": about.base,
                **order.labels,
            },
            options=self._options,
        )

    def _build(self, order: Order) -> int:
        """Gives the bytes that it has over its base."""
        began = time.monotonic()
        reference = order.reference
        self._say(f"{reference}: building")
        recipe = self.recipe(order)
        self._engine.build(recipe, reference)
        bill = self._circumstances.materials / f"{order.image.repository}.cdx.json"
        bill.parent.mkdir(parents=True, exist_ok=True)
        bill.write_text(describe(self._engine, reference, recipe.labels), encoding="utf-8")
        size = self._engine.size_over(self._circumstances.base, reference)
        took = time.monotonic() - began
        self._say(f"{reference}: {size / 1000**2:.1f} MB over the base, {took:.0f} s, {bill.name}")
        return size


def name_image(prefix: str, image: Image, tag: str) -> str:
    return f"{name_repository(prefix, image)}:{tag}"

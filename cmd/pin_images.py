#!/usr/bin/env python3
"""Asks registries which images the tags in the file of pins stand for now, and writes their digests into it.

What stands on a digest stays the same until somebody asks again and commits the change.

A registry is asked at the host that its images' names begin with. Some answer elsewhere, among them Docker Hub, whose
names are the short ones (python is docker.io/library/python): give its address, or that of a mirror, with --registry.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pkg.images.pins import PINS_FILE, read_pins, write_digests  # noqa: E402  # after the line above, as the rest
from pkg.images.registry import ask_digest  # noqa: E402
from pkg.runtime.start_error import StartError  # noqa: E402


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--only", metavar="NAME", action="append", help="this image alone; may be repeated")
    parser.add_argument("--registry", metavar="URL", default="", help="ask there for all of them")
    parser.add_argument("--file", metavar="FILE", type=Path, default=PINS_FILE, help="the pins (%(default)s)")
    parser.add_argument("--check", action="store_true", help="ask nobody; fail if an image has no digest yet")
    return parser.parse_args(words)


def pin(file: Path, names: Sequence[str] | None, registry: str) -> None:
    pins = read_pins(file)
    unknown = sorted(set(names or ()) - pins.keys())
    if unknown:
        raise StartError(f"--only {unknown[0]}: {file} has {', '.join(pins)}")
    for name in names or pins:
        digest = ask_digest(pins[name], registry)
        # Each at once: what the next one fails at must not cost this one.
        write_digests({name: digest}, file)
        print(f"{name}:{pins[name].tag} is {digest}" + (" (as before)" if digest == pins[name].digest else ""))


def check(file: Path) -> None:
    unresolved = [f"{pin.name}:{pin.tag}" for pin in read_pins(file).values() if not pin.digest]
    if unresolved:
        raise StartError(f"no digest yet: {', '.join(unresolved)}; run python cmd/pin_images.py and commit {file.name}")


def main(words: Sequence[str]) -> int:
    arguments = read_arguments(words)
    try:
        if arguments.check:
            check(arguments.file)
        else:
            pin(arguments.file, arguments.only, arguments.registry)
    except StartError as error:
        for fault in error.faults:
            print(f"pin_images: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

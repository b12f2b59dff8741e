"""What an image is built from, as one hash: as long as it stays the same, the image need not be built again.

Of the libraries those modules count that the image's own code imports, or names as text, itself or through others
(Alembic's histories are named so); with a package come the files in it that nothing can import. So a change of
a client's library is a change of those who use it.
"""

import ast
import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from functools import cached_property
from itertools import accumulate, chain
from pathlib import Path, PurePosixPath
from typing import Final

from pkg.images.catalogue import Image

#: What ``Dockerfile`` copies beside an image's own folder.
_LIBRARIES: Final = ("pkg", "pb")
_RECIPE: Final = ("Dockerfile", ".dockerignore")
_MODULE_NAME: Final = re.compile(r"(?:pkg|pb|svc|fun)(?:\.[A-Za-z_]\w*)+")


class Sources:
    """The files of a checkout, by their paths from its root."""

    def __init__(self, root: Path, files: Iterable[str]) -> None:
        self._root = root
        self._ignored = read_ignored((root / ".dockerignore").read_text(encoding="utf-8"))
        self._files = {path for path in map(PurePosixPath, files) if not self._is_ignored(path)}
        self._by_name = {str(path): path for path in self._files}
        self._tops = {path.parts[0] for path in self._files}
        # Nine images share most of their files: each is read once.
        self._imported: dict[PurePosixPath, frozenset[PurePosixPath]] = {}
        self._digests: dict[PurePosixPath, str] = {}

    def hash(self, image: Image, *circumstances: str) -> str:
        """Hexadecimal SHA-256 of what the image is made of, and of the circumstances, as what it stands on."""
        told = [*circumstances, image.target, *image.build_arguments.values()]
        if image.code:
            told.append(self._version)
        lines = [*told, *(f"{path} {self._digest(path)}" for path in self.files(image))]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def files(self, image: Image) -> list[PurePosixPath]:
        """All that it is made of, besides what is in ``pyproject.toml``, of which only the version is read."""
        recipe = [PurePosixPath(name) for name in _RECIPE]
        own = [path for path in self._files if image.code and path.is_relative_to(image.code)]
        requirements = PurePosixPath("requirements", f"{image.requirements}.txt")
        return sorted({*recipe, requirements, *own, *self._reached_from(own)})

    def _reached_from(self, own: list[PurePosixPath]) -> set[PurePosixPath]:
        within = {path for path in self._files if path.parts[0] in _LIBRARIES} | set(own)
        waiting = [path for path in own if path.suffix == ".py"]
        reached = set(waiting)
        while waiting:
            found = self._imported_by(waiting.pop()) & within
            waiting += found - reached
            reached |= found
        packages = {path.parent for path in reached if path.name == "__init__.py"}
        return reached | {path for path in within if _is_data(path) and self._package_of(path) in packages}

    def _package_of(self, path: PurePosixPath) -> PurePosixPath | None:
        return next((folder for folder in path.parents if folder / "__init__.py" in self._files), None)

    def _imported_by(self, path: PurePosixPath) -> frozenset[PurePosixPath]:
        if path not in self._imported:
            tree = ast.parse((self._root / path).read_bytes())
            names = {name for node in ast.walk(tree) for name in _names_of(node, path)}
            ours = (name for name in names if name.partition(".")[0] in self._tops)
            places = set(chain.from_iterable(map(_files_of, ours)))
            self._imported[path] = frozenset(self._by_name[place] for place in places & self._by_name.keys())
        return self._imported[path]

    @cached_property
    def _version(self) -> str:
        with (self._root / "pyproject.toml").open("rb") as file:
            return str(tomllib.load(file)["project"]["version"])

    def _digest(self, path: PurePosixPath) -> str:
        if path not in self._digests:
            self._digests[path] = hashlib.sha256((self._root / path).read_bytes()).hexdigest()
        return self._digests[path]

    def _is_ignored(self, path: PurePosixPath) -> bool:
        return any(fnmatch(str(start), pattern) for start in (path, *path.parents) for pattern in self._ignored)


def read_ignored(text: str) -> list[str]:
    """Patterns of ``.dockerignore`` that take something out of the folders which its first lines let in."""
    lines = [line.strip() for line in text.splitlines()]
    patterns = [line for line in lines if line and not line.startswith(("#", "!")) and line != "*"]
    # Docker's `**/` stands for any number of folders, none among them.
    return [*patterns, *(pattern.removeprefix("**/") for pattern in patterns if pattern.startswith("**/"))]


def _names_of(node: ast.AST, path: PurePosixPath) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            start = [*(path.parts[:-level] if level else ()), *([module] if module else [])]
            yield from (".".join([*start, alias.name]) for alias in names)
        case ast.Constant(value=str(text)) if _MODULE_NAME.fullmatch(text):
            yield text


def _files_of(name: str) -> Iterator[str]:
    """What importing a name may run: of ``pkg.a.b.c`` the last part may be in the module ``pkg.a.b``."""
    for place in accumulate(name.split("."), "{}/{}".format):
        yield from (f"{place}/__init__.py", f"{place}.py")


def _is_data(path: PurePosixPath) -> bool:
    """Whether it is read as a file, since nothing can import it."""
    return path.suffix != ".py" or not path.stem.isidentifier()

"""The house keeps its shape. Every rule here is also run against something that breaks it."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("pkg", "svc", "fun", "pb")
TOP_LEVEL = (
    "pkg/object_model",
    "pkg/link_manager",
    "pkg/user_manager",
    "pkg/social_graph_manager",
    "pkg/clients",
    "pkg/identity_providers",
    "pkg/runtime",
    "pkg/local_stack",
    "svc/link_service",
    "svc/user_service",
    "svc/social_graph_service",
    "svc/api_gateway_service",
    "svc/link_checker_service",
    "fun/link_checker/function.yaml",
    "pb/news_service/pb/news.proto",
    "fun",
    "k8s",
    "cmd",
    "tests",
    "docs/adr",
    "pyproject.toml",
    "Makefile",
    "README.md",
)
SERVICE_FILES = {"__init__.py", "__main__.py", "settings.py", "app.py", "routes.py"}
MANAGER_FILES = {"__init__.py", "manager.py", "store.py", "memory_store.py"}
VAGUE_NAMES = re.compile(r"(?:.*_)?(?:utils?|helpers?|commons?|misc|stuff)")


def python_files(root: Path, *folders: str) -> list[Path]:
    return sorted(
        path for folder in folders for path in (root / folder).rglob("*.py") if "__pycache__" not in path.parts
    )


# --- places and names -----------------------------------------------------------------------------------------------


def missing(root: Path, places: Iterable[str]) -> list[str]:
    return [place for place in places if not (root / place).exists()]


def incomplete(parent: Path, pattern: str, wanted: set[str]) -> dict[str, list[str]]:
    """The folders that lack one of the files that each of their kind has."""
    found = {}
    for folder in sorted(parent.glob(pattern)):
        lacking = sorted(wanted - {path.name for path in folder.iterdir()})
        if folder.is_dir() and not folder.name.startswith("__") and lacking:
            found[folder.name] = lacking
    return found


def vaguely_named(root: Path) -> list[str]:
    return [
        str(path.relative_to(root))
        for path in python_files(root, "pkg", "svc", "cmd", "fun", "tests")
        if VAGUE_NAMES.fullmatch(path.stem) or VAGUE_NAMES.fullmatch(path.parent.name)
    ]


def test_the_top_level_is_as_designed() -> None:
    assert missing(ROOT, TOP_LEVEL) == []


def test_a_missing_room_is_seen(tmp_path: Path) -> None:
    assert missing(tmp_path, ["pkg/object_model"]) == ["pkg/object_model"]


def test_every_service_and_every_manager_has_the_same_files(tmp_path: Path) -> None:
    assert incomplete(ROOT / "svc", "*_service", SERVICE_FILES) == {}
    assert incomplete(ROOT / "pkg", "*_manager", MANAGER_FILES) == {}

    (tmp_path / "odd_service").mkdir()
    (tmp_path / "odd_service" / "app.py").touch()
    assert incomplete(tmp_path, "*_service", SERVICE_FILES) == {
        "odd_service": ["__init__.py", "__main__.py", "routes.py", "settings.py"]
    }


def test_no_file_has_a_name_that_says_nothing(tmp_path: Path) -> None:
    assert vaguely_named(ROOT) == []

    for name in ("pkg/utils.py", "pkg/test_helpers.py", "svc/common/thing.py", "pkg/community.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert vaguely_named(tmp_path) == ["pkg/test_helpers.py", "pkg/utils.py", "svc/common/thing.py"]


# --- the standard library's cmd -------------------------------------------------------------------------------------


def shadowed(root: Path) -> str:
    """What ``import cmd, pdb`` finds when Python is started in ``root``."""
    script = "import cmd, pdb; assert issubclass(pdb.Pdb, cmd.Cmd); print(cmd.__file__)"
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "broken: " + done.stderr.strip().splitlines()[-1]


def test_cmd_does_not_shadow_the_standard_library(tmp_path: Path) -> None:
    assert not (ROOT / "cmd" / "__init__.py").exists()
    assert not shadowed(ROOT).startswith(("broken", str(ROOT / "cmd")))

    (tmp_path / "cmd").mkdir()
    (tmp_path / "cmd" / "__init__.py").touch()
    assert shadowed(tmp_path).startswith("broken")


# --- who imports whom -----------------------------------------------------------------------------------------------

#: A module, a line that it must not have, the contract that says so.
FORBIDDEN_IMPORTS = [
    ("pkg/object_model/types.py", "import orjson", "The object model imports"),
    ("pkg/object_model/types.py", "import pkg.runtime", "Services stand on libraries"),
    ("pkg/runtime/json.py", "import pkg.clients", "Services stand on libraries"),
    ("pkg/clients/link_client.py", "import pkg.link_manager.manager", "Services stand on libraries"),
    ("pkg/clients/link_client.py", "import svc.link_service", "Services stand on libraries"),
    ("pkg/clients/link_client.py", "import httpx", "The inside speaks through"),
    ("pkg/link_manager/manager.py", "import pkg.user_manager.manager", "No manager imports another"),
    ("pkg/link_manager/manager.py", "import fastapi", "Managers and their in-memory stores"),
    (
        "pkg/user_manager/manager.py",
        "import pkg.user_manager.sql_store",
        "Managers and their in-memory stores",
    ),
    ("pkg/social_graph_manager/memory_store.py", "import asyncpg", "Managers and their in-memory stores"),
    (
        "svc/link_service/routes.py",
        "import pkg.link_manager.sql_store",
        "Routes know the manager's interface",
    ),
    ("svc/link_service/app.py", "import svc.user_service.app", "No service imports another"),
    ("svc/user_service/app.py", "import tests", "Nothing imports cmd or tests"),
    ("pkg/runtime/json.py", "import cmd", "Nothing imports cmd or tests"),
    ("pkg/identity_providers/github.py", "import svc.api_gateway_service.settings", "Services stand on libraries"),
    ("fun/link_checker/handler.py", "import pkg.events.nats_bus", "A function has what it needs"),
    ("fun/link_checker/host.py", "import svc.link_service", "Services stand on libraries"),
    ("pkg/link_checker/checker.py", "import fun.link_checker", "Services stand on libraries"),
    ("pb/__init__.py", "import pkg.object_model", "Generated code stands alone"),
]


def lint_imports(root: Path) -> tuple[int, str]:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
            "--config",
            str(root / ".importlinter"),
        ],
        cwd=root,
        # Wide, so that no name of a contract is broken in two.
        env={**os.environ, "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def copied(target: Path) -> Path:
    """The product's code and contracts, to be spoilt."""
    ignore = shutil.ignore_patterns("__pycache__")
    for package in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / package, target / package, ignore=ignore)
    shutil.copy(ROOT / ".importlinter", target)
    return target


def test_import_contracts_hold() -> None:
    status, report = lint_imports(ROOT)
    assert status == 0, report


@pytest.mark.parametrize("chosen", [slice(0, None, 2), slice(1, None, 2)], ids=["even", "odd"])
def test_each_import_contract_can_fail(tmp_path: Path, chosen: slice) -> None:
    """In two halves, so that no line is blamed on its neighbour."""
    root = copied(tmp_path)
    spoilt = FORBIDDEN_IMPORTS[chosen]
    for place, line, _ in spoilt:
        with (root / place).open("a") as module:
            module.write(f"\n{line}\n")
    status, report = lint_imports(root)
    assert status != 0
    for place, line, contract in spoilt:
        assert re.search(rf"{re.escape(contract)}.* BROKEN", report), (place, line, report)
        importer = place.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        assert f"{importer} -> {line.split()[1]}" in report, (place, line, report)


def imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."


def strangers(folder: Path, allowed: tuple[str, ...]) -> list[str]:
    """Imports that are neither the standard library's nor of ``allowed``: a list of the forbidden is never full."""
    return sorted(
        {
            f"{path.name}: {name}"
            for path in folder.rglob("*.py")
            for name in imported_names(path)
            if name.split(".")[0] not in sys.stdlib_module_names
            and not any(name == known or name.startswith(known + ".") for known in allowed)
        }
    )


def test_the_object_model_imports_the_standard_library_and_pydantic_alone(tmp_path: Path) -> None:
    assert strangers(ROOT / "pkg" / "object_model", ("pydantic", "pkg.object_model")) == []

    (tmp_path / "types.py").write_text("import re, msgspec\nfrom pkg.runtime import json\n")
    assert strangers(tmp_path, ("pydantic", "pkg.object_model")) == [
        "types.py: msgspec",
        "types.py: pkg.runtime",
    ]


BANNED_MODULES = {"httpx", "requests"}
BANNED_NAMES = {"BaseHTTPMiddleware"}


def banned_in(path: Path) -> Iterator[str]:
    """What a file uses and must not. To speak of it, in a comment, is allowed."""
    yield from (name for name in imported_names(path) if name.split(".")[0] in BANNED_MODULES)
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.alias(name=name) | ast.Name(id=name) | ast.Attribute(attr=name) if name in BANNED_NAMES:
                yield name
            case ast.Call(func=ast.Attribute(attr="middleware")):
                yield "middleware()"


def banned(root: Path, *folders: str) -> list[str]:
    return [f"{path.relative_to(root)}: {found}" for path in python_files(root, *folders) for found in banned_in(path)]


def test_no_slow_middleware_and_no_slow_client(tmp_path: Path) -> None:
    assert banned(ROOT, "pkg", "svc", "fun", "cmd") == []

    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "a.py").write_text(
        "from starlette.middleware.base import BaseHTTPMiddleware\nimport httpx\n"
        "# requests, and BaseHTTPMiddleware\n@app.middleware('http')\nasync def slow(request, go_on): ...\n"
    )
    assert sorted(banned(tmp_path, "pkg")) == [
        "pkg/a.py: BaseHTTPMiddleware",
        "pkg/a.py: httpx",
        "pkg/a.py: middleware()",
    ]


# --- nothing happens at import --------------------------------------------------------------------------------------


def probe(root: Path, *packages: str) -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "architecture" / "import_probe.py"), str(root), *packages],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return report


def test_nothing_connects_reads_the_environment_or_starts_a_thread_at_import() -> None:
    report = probe(ROOT, *PACKAGES)
    assert report["faults"] == []
    assert {"pkg.clients.link_client", "svc.link_service.__main__"} <= set(report["imported"])


def test_what_happens_at_import_is_seen(tmp_path: Path) -> None:
    package = tmp_path / "eager"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "reads.py").write_text("import os\nHOME = os.environ.get('HOME')\n")
    (package / "asks.py").write_text("import os\nHOME = os.getenv('HOME')\n")
    (package / "connects.py").write_text("import socket\nS = socket.socket()\nS.close()\n")
    (package / "starts.py").write_text("import threading\nthreading.Thread(target=list).start()\n")
    (package / "breaks.py").write_text("raise RuntimeError\n")
    (package / "calm.py").write_text("import os\ndef home(): return os.environ['HOME']\n")
    assert sorted(probe(tmp_path, "eager")["faults"]) == [
        "eager.breaks cannot be imported: RuntimeError()",
        "eager/asks.py reads the environment (HOME)",
        "eager/connects.py: socket.__new__",
        "eager/reads.py reads the environment (HOME)",
        "eager/starts.py starts a thread",
    ]


# --- what must not be committed -------------------------------------------------------------------------------------

LOCK_FILES = {"uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock", "yarn.lock"}
REGISTRY = re.compile(
    r"^\s*(?:--(?:extra-)?index-url|--find-links|--trusted-host|-i|-f)[ =]\S+"
    r"|^\s*(?:index-url|registry|index_url|default-index)\s*=\s*\S+"
    r"|https?://[^\s\"'/]+/(?:artifactory|nexus|simple|api/pypi|repository)/",
    re.MULTILINE,
)
#: Of images: their addresses are given, or are those in the images' names.
IMAGE_REGISTRY = re.compile(r"https?://(?:registry|index)[-\w]*\.[-\w.]+")


def committed(root: Path) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=False)
    names = listed.stdout.decode().split("\0")
    return [root / name for name in names if name and (root / name).is_file()]


def registry_traces(paths: Iterable[Path]) -> list[str]:
    """Lock files that name a registry, and lines that do: a checkout must install from any mirror."""
    found = []
    for path in paths:
        if path.name in LOCK_FILES:
            found.append(path.name)
        elif path.name == "package-lock.json":
            # Of npm, which can write it without any address (--omit-lockfile-registry-resolved).
            found += [path.name] if '"resolved"' in path.read_text() else []
        elif path.suffix in {".txt", ".in", ".toml", ".cfg", ".ini", ".conf", ".yaml", ".yml", ".npmrc"} or (
            path.name in {"Makefile", "Dockerfile", "pip.conf", ".npmrc"}
        ):
            found += [f"{path.name}: {line[0].strip()}" for line in REGISTRY.finditer(path.read_text())]
        elif path.suffix in {".py", ".sh"}:
            found += [f"{path.name}: {line[0]}" for line in IMAGE_REGISTRY.finditer(path.read_text())]
    return found


def test_no_registry_is_written_down(tmp_path: Path) -> None:
    if (ROOT / ".git").exists():
        assert registry_traces(committed(ROOT)) == []

    (tmp_path / "uv.lock").touch()
    (tmp_path / "requirements.txt").write_text("--index-url https://pypi.example.org/simple/\naiohttp==3.12\n")
    (tmp_path / "package-lock.json").write_text('{"packages": {"a": {"integrity": "sha512-00"}}}')
    (tmp_path / "npm").mkdir()
    (tmp_path / "npm" / "package-lock.json").write_text('{"packages": {"a": {"resolved": "https://a.example/a.tgz"}}}')
    assert registry_traces([tmp_path / "npm" / "package-lock.json"]) == ["package-lock.json"]
    address = "https://" + "registry-2.images.example"
    (tmp_path / "ask.py").write_text(f'URL = "{address}/v2/"\nNAME = "images.example"\n')
    (tmp_path / "clean.txt").write_text("aiohttp==3.12 \\\n    --hash=sha256:00\n")
    assert registry_traces(sorted(tmp_path.glob("*.*"))) == [
        f"ask.py: {address}",
        "requirements.txt: --index-url https://pypi.example.org/simple/",
        "uv.lock",
    ]

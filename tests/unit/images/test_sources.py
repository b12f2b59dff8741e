"""What an image is built from: what its program reads is in it, and what it does not need is not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pkg.images.catalogue import IMAGES, Image
from pkg.images.checkout import Checkout
from pkg.images.sources import Sources, read_ignored

ROOT = Path(__file__).parents[3]
EVERY = {image.name for image in IMAGES}
PROGRAMS = {image.name: image for image in IMAGES if image.module}
#: Prints the files of the house that a program reads while it is imported, whichever way.
WATCH = r"""
import importlib, json, os, re, sys
root, module = sys.argv[1:]
read = set()
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        # Of bytecode, the module that it was made of.
        path = re.sub(r"__pycache__/(\w+)\.[^/]*$", r"\1.py", os.path.realpath(arguments[0]))
        if path.startswith((f"{root}/pkg/", f"{root}/pb/", f"{root}/svc/", f"{root}/fun/")):
            read.add(os.path.relpath(path, root))
sys.addaudithook(watch)
sys.dont_write_bytecode = True
sys.path.insert(0, root)
importlib.import_module(module)
print(json.dumps(sorted(read)))
"""
IMAGE = Image(
    name="small", description="", target="service", requirements="small", code="svc/small", module="svc.small"
)
TREE = {
    "Dockerfile": "FROM scratch",
    ".dockerignore": "*\n!pkg\n!svc\n**/k8s\n**/README.md\npkg/kept_out\n",
    "pyproject.toml": '[project]\nversion = "1"\n[project.optional-dependencies]\ndev = []\n',
    "requirements/small.txt": "",
    "requirements/large.txt": "",
    "pkg/__init__.py": "",
    "pkg/direct/__init__.py": "",
    "pkg/direct/client.py": "def call():\n    from pkg.indirect import reply\n",
    "pkg/direct/other.py": "",
    "pkg/direct/page.html": "",
    "pkg/direct/README.md": "",
    "pkg/indirect/__init__.py": "",
    "pkg/indirect/reply.py": "from . import near\nHISTORY = 'pkg.history'\n",
    "pkg/indirect/near.py": "",
    "pkg/history/__init__.py": "",
    "pkg/history/versions/0001_first.py": "",
    "pkg/kept_out/__init__.py": "",
    "pkg/stranger/__init__.py": "",
    "pkg/stranger/data.sql": "",
    "pb/__init__.py": "",
    "svc/small/__init__.py": "",
    "svc/small/__main__.py": "import pkg.kept_out\nfrom pkg.direct.client import call\n",
    "svc/small/k8s/deployment.yaml": "",
    "svc/large/__init__.py": "",
}
FILES_OF_SMALL = {
    *("Dockerfile", ".dockerignore", "requirements/small.txt", "svc/small/__init__.py", "svc/small/__main__.py"),
    *("pkg/__init__.py", "pkg/direct/__init__.py", "pkg/direct/client.py", "pkg/direct/page.html"),
    *("pkg/indirect/__init__.py", "pkg/indirect/reply.py", "pkg/indirect/near.py"),
    *("pkg/history/__init__.py", "pkg/history/versions/0001_first.py"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def hash_of_small(tree: Path, *circumstances: str) -> str:
    files = [str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()]
    return Sources(tree, files).hash(IMAGE, *circumstances)


def test_what_is_imported_or_named_counts_and_nothing_else(tree: Path) -> None:
    assert {str(path) for path in Sources(tree, TREE).files(IMAGE)} == FILES_OF_SMALL


@pytest.mark.parametrize("name", sorted(TREE.keys() - {"pyproject.toml"}))
def test_the_hash_is_of_these_files(tree: Path, name: str) -> None:
    before = hash_of_small(tree, "base")
    (tree / name).write_text(f"{TREE[name]}\n# Changed.\n")
    assert (hash_of_small(tree, "base") != before) == (name in FILES_OF_SMALL)


def test_of_the_project_its_version_counts_and_of_the_rest_what_it_stands_on(tree: Path) -> None:
    before = hash_of_small(tree, "base")
    project = tree / "pyproject.toml"
    project.write_text(TREE["pyproject.toml"].replace("dev = []", 'dev = ["pytest"]'))
    assert hash_of_small(tree, "base") == before
    assert hash_of_small(tree, "another") != before
    project.write_text(TREE["pyproject.toml"].replace('version = "1"', 'version = "2"'))
    assert hash_of_small(tree, "base") != before
    # A new file of the image, of the same content as another one.
    project.write_text(TREE["pyproject.toml"])
    (tree / "svc" / "small" / "empty.py").touch()
    assert hash_of_small(tree, "base") != before


@pytest.fixture(scope="module")
def sources() -> dict[str, set[str]]:
    """The files of each image."""
    sources = Sources(ROOT, Checkout(ROOT).files())
    return {image.name: set(map(str, sources.files(image))) for image in IMAGES}


@pytest.mark.parametrize(
    ("place", "users"),
    [
        ("pkg/clients/link_check_client.py", {"link-checker"}),
        ("pkg/link_manager/migrations/versions/0001_links.py", {"link", "operations"}),
        ("requirements/news-service.txt", {"news"}),
        ("svc/api_gateway_service/pages/style.css", {"api-gateway"}),
        ("pb/news_service/pb/news_pb2.py", {"news"}),
        ("fun/link_checker/handler.py", {"link-check-function"}),
        ("cmd/users.py", {"operations"}),
        ("cmd/build_changed.py", set()),
        ("pkg/object_model/errors.py", EVERY - {"troubleshooting"}),
        ("pkg/runtime/server.py", PROGRAMS.keys()),
        ("Dockerfile", EVERY),
        ("README.md", set()),
    ],
)
def test_a_change_is_for_those_who_use_it(sources: dict[str, set[str]], place: str, users: set[str]) -> None:
    assert (ROOT / place).is_file()
    assert {name for name, files in sources.items() if place in files} == users


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_all_that_a_program_reads_when_it_starts_is_known(sources: dict[str, set[str]], name: str) -> None:
    image = PROGRAMS[name]
    module = image.module if image.module.startswith("fun.") else f"{image.module}.__main__"
    command = [sys.executable, "-c", WATCH, str(ROOT), module]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    read = set(json.loads(done.stdout))
    assert len(read) > 20
    # The folder of all services is no package in an image.
    assert read - sources[name] <= {"svc/__init__.py", "fun/__init__.py"}


def test_patterns_of_dockerignore() -> None:
    text = "# Why.\n*\n!pkg\n**/k8s\npkg/images\n\ncmd/up.py\n"
    assert read_ignored(text) == ["**/k8s", "pkg/images", "cmd/up.py", "k8s"]

"""The code generated from .proto files is what the .proto files say."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROTOS = sorted((ROOT / "pb").rglob("*.proto"))


def generate(target: Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            "-I.",
            f"--python_out={target}",
            f"--pyi_out={target}",
            f"--grpc_python_out={target}",
            *[str(proto.relative_to(ROOT)) for proto in PROTOS],
        ],
        cwd=ROOT,
        check=True,
    )


def drifted(root: Path, fresh: Path) -> list[str]:
    return [
        str(path.relative_to(fresh))
        for path in sorted(fresh.rglob("*"))
        if path.is_file()
        and (
            not (root / path.relative_to(fresh)).exists()
            or (root / path.relative_to(fresh)).read_bytes() != path.read_bytes()
        )
    ]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("generated")
    generate(target)
    return target


def test_there_is_something_to_generate(fresh: Path) -> None:
    assert PROTOS
    assert len([path for path in fresh.rglob("*") if path.is_file()]) == 3 * len(PROTOS)


def test_committed_code_is_current(fresh: Path) -> None:
    assert drifted(ROOT, fresh) == [], "run `make proto` and commit the result"


def test_drift_is_seen(fresh: Path, tmp_path: Path) -> None:
    assert drifted(tmp_path, fresh) != []


def test_the_original_numbers_are_kept() -> None:
    from pb.news_service.pb import news_pb2

    def numbers(message: str) -> dict[str, int]:
        return {field.name: field.number for field in news_pb2.DESCRIPTOR.message_types_by_name[message].fields}

    assert numbers("GetNewsRequest").items() >= {"username": 1, "startToken": 2}.items()
    assert numbers("Event").items() >= {"eventType": 1, "username": 2, "url": 3, "timestamp": 4}.items()
    assert numbers("GetNewsResponse").items() >= {"events": 1, "nextToken": 2, "err": 3}.items()
    assert news_pb2.EventType.items()[:3] == [("LINK_ADDED", 0), ("LINK_UPDATED", 1), ("LINK_DELETED", 2)]
    assert news_pb2.DESCRIPTOR.services_by_name["News"].full_name == "pb.News"

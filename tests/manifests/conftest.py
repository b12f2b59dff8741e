"""The manifests as they would be applied."""

import pytest

from tests.manifests.objects import OVERLAYS, Object, render
from tests.manifests.renders import Renders, make_renders


@pytest.fixture(scope="session")
def objects() -> list[Object]:
    return render(OVERLAYS / "minikube")


@pytest.fixture(scope="session")
def renders(tmp_path_factory: pytest.TempPathFactory) -> Renders:
    """Every overlay with every component."""
    return make_renders(tmp_path_factory.mktemp("house"))

"""The manifests as they would be applied."""

import pytest

from tests.manifests.objects import OVERLAYS, Object, render


@pytest.fixture(scope="session")
def objects() -> list[Object]:
    return render(OVERLAYS / "minikube")

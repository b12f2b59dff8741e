import pytest

from tests.unit.social_graph_manager.house import House


@pytest.fixture
def house() -> House:
    return House()

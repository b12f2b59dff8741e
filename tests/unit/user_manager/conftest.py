import pytest

from tests.unit.user_manager.house import House


@pytest.fixture
def house() -> House:
    return House()

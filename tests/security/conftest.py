"""A served installation in which two organizations have one of everything."""

from collections.abc import Iterator

import pytest

from tests.security.world import House, Tenant, running


@pytest.fixture(scope="package")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    (folder / "import").mkdir()
    with running(folder / "data", import_dir=folder / "import") as house:
        yield house


@pytest.fixture(scope="package")
def rival(house: House) -> Tenant:
    """Who asks."""
    return Tenant(house, "rival").settle()


@pytest.fixture(scope="package")
def acme(house: House, rival: Tenant) -> Tenant:
    """Whose things are asked for; they come second."""
    return Tenant(house, "zebra").settle()

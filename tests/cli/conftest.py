import pytest

from tests.place import Place, make_place


@pytest.fixture(scope="session")
def place(corpus, tmp_path_factory) -> Place:
    return make_place(corpus, tmp_path_factory.mktemp("place"))

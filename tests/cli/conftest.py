import pytest
import yaml

from tests.place import Place, make_place
from undo.given import audit


@pytest.fixture(scope="session")
def place(corpus, tmp_path_factory) -> Place:
    return make_place(corpus, tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="session", autouse=True)
def short_suite(tmp_path_factory):
    """The suite `quick` with fewer steps of everything that trains, under its own name."""
    folder = tmp_path_factory.mktemp("suites")
    for path in audit.SUITES.iterdir():
        (folder / path.name).write_text(path.read_text())
    content = yaml.safe_load((folder / "quick.yaml").read_text())
    for attack in (spec["attack"] for spec in content["attacks"].values()):
        if "steps" in attack:
            attack |= {"steps": 30, "eval_steps": [10, 30] if attack["name"] == "finetune" else [30]}
    (folder / "quick.yaml").write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "SUITES", folder)
        yield

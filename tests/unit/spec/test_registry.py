import pytest

from undo.spec import registry
from undo.spec.base import Plugin
from undo.spec.load import load_recipe

METHOD = """
from undo.methods import LossTerms, Method

class {name}(Method):
    strength: float = 2.0
    def loss(self, model, batch, memo): ...
"""


@pytest.fixture
def fresh():
    """The registry reads folders and entry points once per process."""
    registry.names.cache_clear()
    registry.load.cache_clear()
    yield
    registry.names.cache_clear()
    registry.load.cache_clear()


@pytest.fixture
def methods_folder(monkeypatch, tmp_path, fresh):
    """Another folder of methods, as undo.methods will be once a file is added."""
    package = f"methods_of_{tmp_path.name}"  # a name of its own: modules stay imported
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.PACKAGES, "methods", package)
    return tmp_path / package


def test_the_shipped_plugins_are_registered_by_file_name():
    assert {"graddiff", "maxent", "rmu"} <= set(registry.names("methods"))
    assert "finetune" in registry.names("attacks")
    assert "arithmetic" in registry.names("datasets")
    assert "exact_match" in registry.names("evals")


def test_a_new_file_is_a_new_plugin(methods_folder):
    (methods_folder / "brand_new.py").write_text(METHOD.format(name="BrandNew"))
    (methods_folder / "_helpers.py").write_text("")
    assert registry.names("methods") == ["brand_new"]
    recipe = load_recipe(
        "smoke",
        ["suppress={new: {method: {name: brand_new, strength: 3}, steps: 1, optim: {learning_rate: 1}}}",
         "distil.students=[{init: fresh, teachers: [new]}]"],
    )  # fmt: skip
    assert recipe.suppress["new"].method.strength == 3
    assert recipe.model_dump(mode="json")["suppress"]["new"]["method"] == {
        "name": "brand_new", "version": 1, "strength": 3.0
    }  # fmt: skip


@pytest.mark.parametrize("classes", [0, 2])
def test_a_file_must_define_exactly_one_plugin(methods_folder, classes):
    source = "".join(METHOD.format(name=f"Method{index}") for index in range(classes))
    (methods_folder / f"with_{classes}.py").write_text(source)
    with pytest.raises(TypeError, match=f"exactly one plug-in class, found {classes}"):
        registry.load("methods", f"with_{classes}")


def test_another_package_registers_by_entry_point(monkeypatch, fresh):
    class Elsewhere(Plugin):
        strength: float = 2.0

    class Point:
        name = "elsewhere"

        def load(self):
            return Elsewhere

    monkeypatch.setattr(registry, "entry_points", lambda group: [Point()] if group == "undo.methods" else [])
    assert "elsewhere" in registry.names("methods") and "rmu" in registry.names("methods")
    assert "elsewhere" not in registry.names("attacks")
    assert registry.load("methods", "elsewhere") is Elsewhere


def test_an_unknown_name_is_a_key_error():
    with pytest.raises(KeyError):
        registry.load("methods", "no_such_method")

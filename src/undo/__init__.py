"""undo: make a capability of a language model go for good, and find out whether it is gone."""

from undo.spec.lazy import lazy

__version__ = "0.1.0"
__all__ = ["load_recipe", "perturb", "plan", "run"]

_api = lazy(__name__, api="load_recipe plan run")
_models = lazy(__name__, models="perturb")


def __getattr__(name: str):
    return _models(name) if name == "perturb" else _api(name)

"""undo: make a capability of a language model go for good, and find out whether it is gone."""

import sys

_by_module = sys.argv[:1] == ["-m"] and "undo" in {name.partition(".")[0] for name in sys.orig_argv}
if _by_module and not sys.flags.safe_path:
    # `python -m undo...` looks for modules in the current folder first, and that may be a model's, of anybody's files
    del sys.path[0]

from typing import TYPE_CHECKING, Any  # noqa: E402

from undo.spec.lazy import lazy  # noqa: E402

if TYPE_CHECKING:
    from undo.api import (
        AuditRequest,
        RobustifyRequest,
        audit,
        distil,
        load_recipe,
        plan,
        robustify,
        run,
        run_audit,
        run_robustify,
        suppress,
    )
    from undo.models import perturb

__version__ = "0.1.0"
__all__ = [
    "AuditRequest",
    "RobustifyRequest",
    "audit",
    "distil",
    "load_recipe",
    "perturb",
    "plan",
    "robustify",
    "run",
    "run_audit",
    "run_robustify",
    "suppress",
]

_lazy_api = lazy(__name__, api=" ".join(name for name in __all__ if name != "perturb"))
_lazy_models = lazy(__name__, models="perturb")


def __getattr__(name: str) -> Any:
    return _lazy_models(name) if name == "perturb" else _lazy_api(name)

import importlib
import json
import subprocess
import sys

import pytest

import undo
from undo.spec.lazy import lazy

PACKAGES = {
    "undo": undo.__all__,
    "undo.objectives": ["IGNORE", "activation_mse", "cross_entropy", "forward_kl", "next_token_targets", "uniform_kl"],
    "undo.data": ["Batch", "Corpus", "Stream", "TokenBatch", "adversary_batches", "domain_batches", "write_corpus"],
    "undo.models": ["build_llama", "decoder_layers", "load_model", "perturb", "pick_layers", "save_model"],
    "undo.train": ["Checkpoints", "FitJob", "FitState", "Ledger", "fit"],
}  # fmt: skip


@pytest.mark.parametrize("package", PACKAGES)
def test_names_load_on_first_use(package):
    module = importlib.import_module(package)
    assert all(getattr(module, name) is not None for name in PACKAGES[package])
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nonsense'"):
        _ = module.nonsense


def test_a_name_that_its_module_would_hide_is_refused():
    with pytest.raises(AssertionError):
        lazy("package", fit="fit other")


def _heavy_after(statement: str) -> list[str]:
    heavy = ["torch", "transformers", "numpy", "tokenizers"]
    code = f"import sys, json\n{statement}\nprint(json.dumps([m for m in {heavy} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "statement",
    [
        "import undo.cli.main",
        "import undo.spec.load as load, undo.study.plan as plan\nplan.make_plan(load.load_recipe('smoke'))",
        "import undo.report, pkgutil, importlib\n"
        "[importlib.import_module(f'undo.report.{m.name}') for m in pkgutil.iter_modules(undo.report.__path__)]",
        "import undo; undo.plan('smoke')",
    ],
    ids=["command line", "plan", "report", "python plan"],
)
def test_torch_stays_out_of(statement):
    assert not {"torch", "transformers"} & set(_heavy_after(statement))

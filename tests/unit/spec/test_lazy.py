import importlib
import json
import subprocess
import sys

import pytest

import undo
from undo.spec.lazy import lazy

PACKAGES = {
    "undo": undo.__all__,
    "undo.objectives": ["IGNORE", "Head", "Predictions", "TopTokens", "activation_mse", "cross_entropy", "forward_kl",
                        "greedy", "jensen_shannon", "next_token_targets", "top_forward_kl", "top_tokens", "uniform_kl",
                        "valid_mean", "valid_mean_of"],
    "undo.data": ["Batch", "Corpus", "RowStream", "TeacherOutputs", "TokenBatch", "adversary_batches", "domain_batches",
                  "write_corpus", "write_outputs"],
    "undo.models": ["build_llama", "decoder_layers", "hidden_states", "load_model", "output_head", "perturb",
                    "pick_layers", "predict", "save_model"],
    "undo.train": ["Checkpoints", "FitJob", "FitState", "Ledger", "count_flops", "fit"],
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

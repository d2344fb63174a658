import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from undo.models import build_llama, freeze, load_model, save_model


def build(corpus, seed: int):
    return build_llama(16, 2, 2, 32, 32, corpus.tokenizer, seed)


def test_the_seed_alone_decides_the_weights(corpus):
    torch.manual_seed(1)
    first = build(corpus, seed=5)
    torch.manual_seed(2)
    again, other = build(corpus, seed=5), build(corpus, seed=6)
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name))
        assert parameter.ndim < 2 or not torch.equal(parameter, other.get_parameter(name))


def test_building_leaves_the_global_generator_alone(corpus):
    state = torch.get_rng_state()
    build(corpus, seed=5)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_shape_is_the_one_asked_for(corpus):
    config = build(corpus, seed=5).config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (16, 2, 2)
    assert (config.intermediate_size, config.max_position_embeddings) == (32, 32)
    assert config.vocab_size == len(corpus.tokenizer) and config.tie_word_embeddings


@pytest.fixture(scope="module")
def saved(corpus, tmp_path_factory):
    folder, model = tmp_path_factory.mktemp("saved"), build(corpus, seed=5)
    save_model(model, corpus.tokenizer, folder)
    return folder, model.eval()


def test_plain_transformers_loads_the_folder_to_equal_logits(saved, batch):
    folder, model = saved
    loaded = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=batch.retain.ids).logits, model(input_ids=batch.retain.ids).logits)


def test_our_loader_gives_the_same_weights(saved):
    folder, model = saved
    loaded = load_model(folder)
    assert all(torch.equal(parameter, loaded.get_parameter(name)) for name, parameter in model.named_parameters())


def test_weights_are_fp32_even_from_a_bf16_folder(saved, corpus, tmp_path):
    folder, _ = saved
    half = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    save_model(half, corpus.tokenizer, tmp_path)
    assert {p.dtype for p in load_model(tmp_path).parameters()} == {torch.float32}
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float32"


def test_the_saved_tokenizer_is_ours(saved, corpus):
    loaded = AutoTokenizer.from_pretrained(saved[0])
    text = "12+3=15 Ann has 3 pens"
    assert loaded(text)["input_ids"] == corpus.tokenizer(text)["input_ids"]
    assert loaded.decode(loaded(text)["input_ids"]) == text


def test_padding_and_end_differ_in_every_saved_file(saved):
    folder, _ = saved
    loaded, config = AutoTokenizer.from_pretrained(folder), json.loads((folder / "config.json").read_text())
    assert config["pad_token_id"] == loaded.pad_token_id != config["eos_token_id"] == loaded.eos_token_id
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["pad_token_id"] == loaded.pad_token_id and generation["eos_token_id"] == loaded.eos_token_id


def test_the_folder_holds_safetensors_and_no_pickle(saved):
    names = {path.name for path in saved[0].iterdir()}
    assert "model.safetensors" in names and not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]


def test_a_frozen_model_has_no_gradients_and_no_training_mode(tiny_model):
    frozen = freeze(tiny_model)
    assert frozen is tiny_model and not frozen.training
    assert not any(parameter.requires_grad for parameter in frozen.parameters())

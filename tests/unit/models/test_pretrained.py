"""Somebody's own model: every usual family is adopted, and what cannot work is refused in one line."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    Gemma2Config,
    Gemma3Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    LlamaModel,
    MixtralConfig,
    PhimoeConfig,
    Qwen2Config,
    Qwen3_5Config,
    Qwen3Config,
    Qwen3MoeConfig,
)
from transformers.models.llama.modeling_llama import LlamaMLP

from undo import methods, models
from undo.data import TokenBatch, domain_batches
from undo.methods.maxent import MaxEnt
from undo.methods.rmu import RMU
from undo.models.chance import without_chance
from undo.models.pretrained import adopt, limits
from undo.objectives.predictions import logit_chunks
from undo.spec.errors import UserError

VOCABULARY = 320  # the corpus' 300 tokens, padded to a multiple of 64 as published models are
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 48,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
MOE = {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "head_dim": 8}
GPT2 = {"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 48}
DOWN = r"mlp\.down_proj\."
FAMILIES = {  # configuration, the blocks' name, the MLPs' down projections
    "llama": (lambda: LlamaConfig(**SHAPE), "model.layers", DOWN),
    "gpt2": (lambda: GPT2Config(**GPT2, bos_token_id=1, eos_token_id=1), "transformer.h", r"mlp\.c_proj\."),
    "gpt_neox": (lambda: GPTNeoXConfig(**SHAPE), "gpt_neox.layers", r"mlp\.dense_4h_to_h\."),
    "qwen2": (lambda: Qwen2Config(**SHAPE), "model.layers", DOWN),
    "qwen3": (lambda: Qwen3Config(**SHAPE, head_dim=8), "model.layers", DOWN),
    "gemma2": (lambda: Gemma2Config(**SHAPE, head_dim=8), "model.layers", DOWN),
    "gemma3": (lambda: Gemma3TextConfig(**SHAPE, head_dim=8), "model.layers", DOWN),
    "mixtral": (lambda: MixtralConfig(**SHAPE, num_local_experts=3), "model.layers", r"mlp\.experts\.down_proj"),
    "qwen3_moe": (lambda: Qwen3MoeConfig(**SHAPE, **MOE), "model.layers", r"mlp\.experts\.down_proj"),
}
every_family = pytest.mark.parametrize("family", FAMILIES)


def save(folder, config, tokenizer):
    torch.manual_seed(3)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def own(corpus, tmp_path):
    """A function from a family's name to its folder."""
    return lambda family="llama": save(tmp_path / "own", FAMILIES[family][0](), corpus.tokenizer)


def edit(path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture(scope="module")
def rows(corpus) -> TokenBatch:
    return domain_batches(corpus, ["retain", "forget"], "train", 4, seed=1)(0).all()


def own_logits(model, rows):
    with torch.no_grad():
        return model.eval()(input_ids=rows.ids).logits


@every_family
def test_a_model_survives_adoption_and_the_way_to_disk(family, own, rows, tmp_path):
    folder = own(family)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    model, tokenizer = adopt(folder)
    models.save_model(model, tokenizer, tmp_path / "adopted")
    loaded = models.load_model(tmp_path / "adopted")
    assert torch.equal(own_logits(loaded, rows), own_logits(plain, rows))
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert limits(tmp_path / "adopted") == (VOCABULARY, 48)
    assert AutoTokenizer.from_pretrained(tmp_path / "adopted").eos_token_id == tokenizer.eos_token_id


@every_family
def test_its_layers_are_found(family, own):
    model, _ = adopt(own(family))
    assert [name for name, _ in models.decoder_layers(model)] == [f"{FAMILIES[family][1]}.{i}" for i in range(2)]


@every_family
def test_its_predictions_are_its_logits(family, own, rows):
    model, _ = adopt(own(family))
    with torch.no_grad():
        found = models.predict(model, rows)
        assert found.head is not None, "computed apart from the body, or large vocabularies do not fit"
        logits = torch.cat([chunk.clone() for _, (chunk,) in logit_chunks(found.flat())])
    torch.testing.assert_close(logits, own_logits(model, rows).flatten(0, 1), rtol=1e-4, atol=1e-5)


@every_family
@pytest.mark.parametrize("rule", ["initial", "paper", "reinit"])
def test_noise_reaches_every_weight(family, own, rule):
    model, _ = adopt(own(family))
    first, again = (models.perturb(model, 0.5, 0.1, 7, rule) for _ in range(2))
    same, none = models.perturb(model, 0.0, 0.1, 7, rule), dict(model.named_parameters())
    for name, parameter in first.named_parameters():
        assert parameter.isfinite().all() and torch.equal(parameter, again.get_parameter(name))
        assert torch.equal(same.get_parameter(name), none[name])
        assert parameter.ndim < 2 or not torch.equal(parameter, none[name])


def test_a_redrawn_gpt2_has_the_small_residual_weights_of_its_own_initialiser(own):
    model, _ = adopt(own("gpt2"))
    redrawn = models.perturb(model, 1.0, 1.0, 7, "reinit").transformer.h[0].mlp
    assert redrawn.c_proj.weight.std().item() == pytest.approx(0.02 / 4**0.5, rel=0.1)
    assert redrawn.c_fc.weight.std().item() == pytest.approx(0.02, rel=0.1)


@every_family
def test_a_fresh_one_is_drawn_by_the_familys_own_initialiser(family, own):
    model, _ = adopt(own(family))
    torch.manual_seed(5)
    expected = type(model)(model.config)
    state = torch.get_rng_state()
    fresh, other = models.untrained_like(model, 5), models.untrained_like(model, 6)
    assert torch.equal(torch.get_rng_state(), state)
    for name, parameter in fresh.named_parameters():
        assert torch.equal(parameter, expected.get_parameter(name))
        if parameter.ndim > 1 and parameter.any():
            assert not torch.equal(parameter, other.get_parameter(name))
            assert not torch.equal(parameter, model.get_parameter(name))


def step(method, model, batch, reference=None) -> set[str]:
    """Names of the parameters that a step of a method moves."""
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    allowed = method.trainable(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in allowed)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    terms = method.loss(model.train(), batch, methods.Memo(reference, 1))
    assert terms.total.isfinite()
    terms.total.backward()
    optimizer.step()
    return {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}


@every_family
def test_a_step_of_maxent_moves_all_of_it(family, own, batch):
    model, _ = adopt(own(family))
    assert step(MaxEnt(name="maxent"), model, batch) == {name for name, _ in model.named_parameters()}


@every_family
def test_a_step_of_rmu_moves_the_down_projections_of_its_layer(family, own, batch):
    folder = own(family)
    (model, _), (reference, _) = adopt(folder), adopt(folder)
    _, blocks, down = FAMILIES[family]
    moved = step(RMU(name="rmu", layers=(1,), parameters=(down,)), model, batch, models.freeze(reference))
    assert moved and all(name.startswith(f"{blocks}.1.mlp.") for name in moved)


# -- what is mended on the way in --------------------------------------------------------------------------------------


def test_weights_in_half_precision_become_fp32(own, corpus):
    folder = own()
    half = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    half.save_pretrained(folder)
    model, _ = adopt(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_an_end_token_that_is_the_padding_token_too_can_be_learnt(own, corpus, rows, tmp_path):
    """torch gives an embedding's padding row no gradient, and initialisers set it to 0."""
    folder = own()
    edit(folder / "config.json", pad_token_id=1)
    model, tokenizer = adopt(folder)
    models.save_model(model, tokenizer, tmp_path / "adopted")
    loaded = models.load_model(tmp_path / "adopted")
    loaded.get_input_embeddings()(rows.ids).sum().backward()
    assert loaded.get_input_embeddings().weight.grad[1].any() and (rows.ids == 1).any()
    assert models.untrained_like(loaded, 1).get_input_embeddings().weight[1].any()


def test_dropout_is_switched_off(own, tmp_path):
    """Chance that no seed of the study decides."""
    model, tokenizer = adopt(own("gpt2"))
    models.save_model(model, tokenizer, tmp_path / "adopted")
    loaded = models.load_model(tmp_path / "adopted")
    assert model.config.resid_pdrop == 0 and {m.p for m in loaded.modules() if isinstance(m, torch.nn.Dropout)} == {0.0}


def test_published_generation_settings_that_cannot_be_saved_do_no_harm(own, tmp_path):
    folder = own()
    edit(folder / "generation_config.json", temperature=0.6, top_p=0.9, do_sample=False)
    models.save_model(*adopt(folder), tmp_path / "adopted")
    assert models.load_model(tmp_path / "adopted").generation_config.temperature is None


def test_a_begin_token_ends_texts_where_no_other_does(own):
    folder = own()
    edit(folder / "tokenizer_config.json", eos_token=None)
    _, tokenizer = adopt(folder)
    assert tokenizer.eos_token == tokenizer.bos_token == "<|end|>"


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_tokenizer_without_any_end_is_refused(own):
    folder = own()
    edit(folder / "tokenizer_config.json", eos_token=None, bos_token=None)
    with pytest.raises(UserError, match="no end token; name one in its tokenizer_config"):
        adopt(folder)


def test_missing_weights_are_refused_instead_of_drawn_by_chance(own, corpus):
    folder = own()
    LlamaModel(LlamaConfig(**SHAPE)).save_pretrained(folder)
    with pytest.raises(UserError, match=r"lacks weights of LlamaForCausalLM: lm_head\.weight"):
        adopt(folder)


def test_an_encoder_is_refused(corpus, tmp_path):
    config = BertConfig(**SHAPE | {"bos_token_id": None, "eos_token_id": None})
    with pytest.raises(UserError, match="no causal model"):
        adopt(save(tmp_path / "own", config, corpus.tokenizer))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantised; start from the ones in full"),
        ({"model_type": "nonsense"}, "transformers cannot load .*nonsense"),
        ({"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}, "transformers cannot load"),
    ],
)
def test_models_that_cannot_be_used_are_refused_in_one_line(own, changes, says):
    folder = own()
    edit(folder / "config.json", **changes)
    with pytest.raises(UserError, match=says) as refused:
        adopt(folder)
    assert "\n" not in str(refused.value)


# -- before anything is loaded -----------------------------------------------------------------------------------------


def test_a_folder_is_known_by_its_content_and_not_by_its_place(own, tmp_path):
    folder = own()
    known = models.fingerprint(folder)
    assert known == models.fingerprint(shutil.copytree(folder, tmp_path / "elsewhere"))
    (folder / "README.md").write_text("anything")
    assert known == models.fingerprint(folder)


@pytest.mark.parametrize("name", ["model.layers.1.mlp.down_proj.weight", "model.layers.0.input_layernorm.weight"])
@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_change_anywhere_among_the_weights_is_another_model(own, name, place):
    """RMU moves a matrix in the middle of the file, and whoever cuts a token out some of its rows."""
    folder = own()
    known = models.fingerprint(folder)
    weights = load_file(folder / "model.safetensors")
    flat = weights[name].view(-1)
    flat[place and place * len(flat) // 2] += 0.5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert models.fingerprint(folder) != known


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_another_configuration_or_tokenizer_is_another_model(own, name):
    folder = own()
    known = models.fingerprint(folder)
    edit(folder / name, anything=1)
    assert models.fingerprint(folder) != known


def test_weights_that_are_no_numbers_are_refused(own):
    folder = own()
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"no numbers .*: model.layers.1.mlp.down_proj.weight"):
        adopt(folder)


def test_a_file_that_was_cut_off_is_refused(own):
    folder = own()
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cut off"):
        models.fingerprint(folder)


def test_weights_are_counted_without_loading_them(own):
    folder = own()
    assert models.count_weights(folder) == sum(p.numel() for p in adopt(folder)[0].parameters())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("config.json", "holds no config.json"),
        ("model.safetensors", "holds no weights in safetensors"),
        ("tokenizer.json", "holds no tokenizer"),
    ],
)
def test_a_folder_without_a_part_of_a_model_is_refused(own, name, says):
    folder = own()
    (folder / name).unlink()
    with pytest.raises(UserError, match=says):
        models.find_folder(str(folder))


def test_a_pointer_in_place_of_weights_is_refused(own):
    folder = own()
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match="git lfs pull"):
        models.fingerprint(folder)


@pytest.mark.parametrize("revision", [None, "main", "0" * 40])
def test_a_model_in_the_hubs_cache_is_found_without_a_network(own, tmp_path, monkeypatch, revision):
    folder = own()
    cached = tmp_path / "hub" / "models--somebody--something"
    shutil.copytree(folder, cached / "snapshots" / ("0" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    found = models.find_folder("somebody/something", revision)
    assert models.fingerprint(found) == models.fingerprint(folder)
    with pytest.raises(UserError, match="hf download somebody/something --revision other"):
        models.find_folder("somebody/something", "other")


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("nobody/nothing", " and no model in the hub's cache; hf download nobody/nothing"),
        ("./nowhere", "; name one with a model as transformers saves it"),  # the hub has no such names
        ("no/such/folder", "; name one with"),
        ("nothing at all", "; name one with"),
    ],
)
def test_a_path_that_is_nowhere_is_one_line_with_the_way_out(name, way_out, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=f"'{name}' is no folder{way_out}"):
        models.find_folder(name)


def test_a_misspelt_folder_and_a_file_in_one_are_named_rightly(own, tmp_path, monkeypatch):
    folder = own()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(folder.parent)
    misspelt = f"{folder.name}x"
    for name, meant in ((misspelt, folder.name), (f"./{misspelt}", folder.name), (f"{folder}x", str(folder))):
        with pytest.raises(UserError, match=f"'{name}' is no folder.*; did you mean '{meant}'"):
            models.find_folder(name)
    with pytest.raises(UserError, match=f"it is a file, name the folder that holds it, '{folder.name}'"):
        models.find_folder(f"{folder.name}/config.json")


def test_a_revision_of_a_folder_is_not_ignored(own):
    with pytest.raises(UserError, match="revision names a version on the hub"):
        models.find_folder(str(own()), "main")


def adapter_of(folder, target, seed=5):
    """A PEFT adapter with random weights, saved; returns the logits' model beside it."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    wrapped = get_peft_model(plain, LoraConfig(r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"))
    for name, parameter in wrapped.named_parameters():
        if ".lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    wrapped.save_pretrained(target)
    return wrapped


def test_an_adapter_is_merged_into_the_weights(own, rows, tmp_path):
    pytest.importorskip("peft")
    folder = own()
    wrapped = adapter_of(folder, tmp_path / "adapter")
    merged, _ = adopt(folder, models.find_adapter(str(tmp_path / "adapter")))
    torch.testing.assert_close(own_logits(merged, rows), own_logits(wrapped, rows))
    assert not torch.allclose(own_logits(merged, rows), own_logits(adopt(folder)[0], rows), atol=1e-3)
    assert not [name for name, _ in merged.named_parameters() if "lora" in name]
    assert models.fingerprint(folder) != models.fingerprint(folder, tmp_path / "adapter")


def test_an_adapter_of_another_model_is_refused(own, corpus, tmp_path):
    pytest.importorskip("peft")
    other = save(tmp_path / "wide", LlamaConfig(**SHAPE | {"hidden_size": 32}), corpus.tokenizer)
    adapter_of(other, tmp_path / "adapter")
    with pytest.raises(UserError, match=r"adapter .* does not fit the model|changes no weight") as refused:
        adopt(own(), tmp_path / "adapter")
    assert "\n" not in str(refused.value)


def test_an_adapter_alone_is_no_model(own, tmp_path):
    pytest.importorskip("peft")
    adapter_of(own(), tmp_path / "adapter")
    with pytest.raises(UserError, match="an adapter without its model; name the model, and --adapter"):
        models.find_folder(str(tmp_path / "adapter"))


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_a_model_in_shards_is_one_model(family, own, rows, tmp_path):
    folder = own(family)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    plain.save_pretrained(tmp_path / "shards", max_shard_size="8KB")
    for path in folder.glob("tokenizer*"):
        shutil.copy(path, tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert models.count_weights(tmp_path / "shards") == models.count_weights(folder)
    assert torch.equal(own_logits(adopt(tmp_path / "shards")[0], rows), own_logits(plain, rows))


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_a_model_leaves_in_the_precision_in_which_it_came(precision, own, tmp_path):
    folder = own()
    AutoModelForCausalLM.from_pretrained(folder, dtype=precision).save_pretrained(folder)
    model, tokenizer = adopt(folder)
    models.save_model(model, tokenizer, tmp_path / "artifact")
    assert models.export_model(tmp_path / "artifact", folder, tmp_path / "out", "5GB").precision == precision
    saved = [weight for path in (tmp_path / "out").glob("*.safetensors") for weight in load_file(path).values()]
    assert {weight.dtype for weight in saved} == {getattr(torch, precision)}


@every_family
def test_width_and_layers_are_read_from_its_configuration(family, own):
    assert models.width_and_layers(own(family)) == (16, 2)


# -- what a folder may hold --------------------------------------------------------------------------------------------


@pytest.fixture
def shards(own, tmp_path):
    """A model in shards, with its index."""
    folder = tmp_path / "shards"
    AutoModelForCausalLM.from_pretrained(own()).save_pretrained(folder, max_shard_size="8KB")
    for path in (tmp_path / "own").glob("tokenizer*"):
        shutil.copy(path, folder)
    return folder


def point(folder, name) -> None:
    """Lets the index name another file for one of the tensors."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"]["model.norm.weight"] = str(name)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_another_index_is_another_model(shards):
    known = models.fingerprint(shards)
    index = json.loads((shards / "model.safetensors.index.json").read_text())
    (shards / "model.safetensors.index.json").write_text(json.dumps(index, indent=7))
    assert models.fingerprint(shards) != known


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../own/model.safetensors", r"names '../own/model.safetensors', which lies outside the folder; move it in"),
        ("/etc/x.safetensors", "names '/etc/x.safetensors', which lies outside"),
        ("evil.bin", "names 'evil.bin', which is no safetensors file"),
        ("none.safetensors", "names 'none.safetensors', which is missing; download it again"),
    ],
)
def test_an_index_names_safetensors_in_its_folder_and_nothing_else(shards, name, says):
    point(shards, name)
    (shards / "evil.bin").write_bytes(b"anything")
    for read in (lambda: models.find_folder(str(shards)), lambda: models.fingerprint(shards), lambda: adopt(shards)):
        with pytest.raises(UserError, match=says) as refused:
            read()
        assert "\n" not in str(refused.value)


def test_a_configuration_that_names_the_weights_is_held_to_the_same(own):
    folder = own()
    for name in ("adapter_model.bin", "../x.safetensors", "pytorch_model.bin"):
        edit(folder / "config.json", transformers_weights=name)
        with pytest.raises(UserError, match=r"no safetensors file|outside the folder"):
            models.find_folder(str(folder))


def test_a_link_that_leaves_the_folder_is_refused_and_the_hubs_cache_is_made_of_links(own, tmp_path):
    folder = own()
    (tmp_path / "secret.json").write_text((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer_config.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(UserError, match=r"tokenizer_config.json is a link to a file outside the folder"):
        models.find_folder(str(folder))
    cache = tmp_path / "models--a--b"
    snapshot = cache / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (cache / "blobs").mkdir()
    for path in folder.iterdir():
        shutil.copyfile(path, cache / "blobs" / path.name)
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    assert models.find_folder(str(snapshot)) == snapshot and adopt(snapshot)


def test_an_adapter_beside_its_model_is_refused(own, tmp_path):
    """transformers would load the model that the adapter names, and not this one."""
    pytest.importorskip("peft")
    folder = own()
    adapter_of(folder, tmp_path / "adapter")
    for path in (tmp_path / "adapter").glob("adapter*"):
        shutil.copy(path, folder)
    with pytest.raises(UserError, match="a model and an adapter; move the adapter"):
        models.find_folder(str(folder))


def test_a_vocabulary_in_files_of_its_own_belongs_to_the_model(own):
    folder = own()
    known = models.fingerprint(folder)
    (folder / "merges.txt").write_text("a b")
    assert models.fingerprint(folder) != known


def test_only_what_is_loaded_counts(own, shards):
    weights, known = models.count_weights(shards), models.fingerprint(shards)
    shutil.copy(own() / "model.safetensors", shards / "consolidated.safetensors")
    assert (models.count_weights(shards), models.fingerprint(shards)) == (weights, known)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3_moe"])
def test_layers_that_the_configuration_does_not_count_are_refused(family, own):
    folder = own(family)
    edit(
        folder / "config.json",
        **({"n_layer": 1} if family == "gpt2" else {"num_hidden_layers": 1, "layer_types": None}),
    )
    with pytest.raises(UserError, match=r"leaves unread: .*(layers|h)\.1\..* and \d+ more; config.json is another"):
        adopt(folder)


def test_what_transformers_knows_to_be_of_no_use_may_be_there(own):
    folder = own()
    edit(folder / "config.json", tie_word_embeddings=True)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert adopt(folder)


@pytest.mark.parametrize("ids", [{"pad_token_id": 400}, {"pad_token_id": -1}, {"eos_token_id": [1, 999]}])
def test_special_tokens_beyond_the_vocabulary_are_left_out(own, rows, ids, tmp_path):
    folder = own()
    plain = own_logits(AutoModelForCausalLM.from_pretrained(folder), rows)
    edit(folder / "config.json", **ids)
    model, tokenizer = adopt(folder)
    assert torch.equal(own_logits(model, rows), plain)
    models.save_model(model, tokenizer, tmp_path / "artifact")
    models.export_model(tmp_path / "artifact", folder, tmp_path / "out", "5GB")
    assert torch.equal(own_logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out"), rows), plain)


# -- chance ------------------------------------------------------------------------------------------------------------


def twice(model, rows):
    model.train()
    return [model(input_ids=rows.ids).logits for _ in range(2)]


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("gpt2", {}),
        ("mixtral", {"router_jitter_noise": 0.1}),
        ("llama", {"attention_dropout": 0.2}),
    ],
)
def test_no_forward_pass_of_an_adopted_model_draws_lots(family, changes, own, rows, tmp_path):
    folder = own(family)
    edit(folder / "config.json", **changes)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    first, second = twice(plain, rows)
    assert not torch.equal(first, second), "it draws as it was given"
    model, tokenizer = adopt(folder)
    models.save_model(model, tokenizer, tmp_path / "artifact")
    loaded = models.load_model(tmp_path / "artifact")
    for one in (model, loaded):
        first, second = twice(one, rows)
        assert torch.equal(first, second)
    assert torch.equal(own_logits(loaded, rows), own_logits(plain, rows)), "and says what it said"


def test_a_router_that_draws_lots_is_refused_with_its_place(corpus, tmp_path):
    """Phi-MoE's does in training, whatever its settings say."""
    config = PhimoeConfig(**SHAPE, num_local_experts=4, input_jitter_noise=0.1)
    with pytest.raises(UserError, match=r"PhimoeForCausalLM draws lots in 'model.layers.0.mlp.router'"):
        adopt(save(tmp_path / "own", config, corpus.tokenizer))


def test_chance_that_no_setting_switches_off_is_refused_with_its_place(own):
    model = AutoModelForCausalLM.from_pretrained(own())

    class Noisy(LlamaMLP):
        def forward(self, x):
            return super().forward(x) + (torch.rand_like(x) if self.training else 0)

    model.model.layers[1].mlp.__class__ = Noisy
    original = type(model)
    patched = type("Noisy", (original,), {"__init__": lambda self, config: _noisy(self, original, config, Noisy)})
    model.__class__ = patched
    with pytest.raises(UserError, match=r"draws lots in 'model.layers.1.mlp' \(Noisy\)"):
        without_chance(model)


def _noisy(self, original, config, kind):
    original.__init__(self, config)
    self.model.layers[1].mlp.__class__ = kind


# -- adapters ----------------------------------------------------------------------------------------------------------


TIED = LlamaConfig(**SHAPE, tie_word_embeddings=True)
EVERYWHERE = ["q_proj", "down_proj"]


def adapters() -> dict:
    peft = pytest.importorskip("peft")
    lora, kind = peft.LoraConfig, {"task_type": "CAUSAL_LM"}
    return {
        "lora": lora(r=2, target_modules=EVERYWHERE, **kind),
        "head": lora(r=2, target_modules=["lm_head"], **kind),
        "embeddings": lora(r=2, target_modules=["embed_tokens"], **kind),
        "both": lora(r=2, target_modules=["lm_head", "embed_tokens", *EVERYWHERE], **kind),
        "dora": lora(r=2, target_modules=EVERYWHERE, use_dora=True, **kind),
        "rslora": lora(r=2, target_modules=EVERYWHERE, use_rslora=True, **kind),
        "saved": lora(r=2, target_modules=EVERYWHERE, modules_to_save=["lm_head"], **kind),
        "ia3": peft.IA3Config(target_modules=EVERYWHERE, feedforward_modules=["down_proj"], **kind),
    }


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("kind", ["lora", "head", "embeddings", "both", "dora", "rslora", "saved", "ia3"])
def test_a_merged_adapter_says_what_the_adapter_said(kind, tied, corpus, rows, tmp_path):
    config = adapters()[kind]
    from peft import get_peft_model

    folder = save(tmp_path / "own", TIED if tied else LlamaConfig(**SHAPE), corpus.tokenizer)
    torch.manual_seed(5)
    wrapped = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if ("lora" in name and "magnitude" not in name) or "ia3" in name or "modules_to_save" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    expected = own_logits(wrapped, rows)
    wrapped.save_pretrained(tmp_path / "adapter")
    model, tokenizer = adopt(folder, models.find_adapter(str(tmp_path / "adapter")))
    torch.testing.assert_close(own_logits(model, rows), expected, rtol=1e-3, atol=1e-3)
    models.save_model(model, tokenizer, tmp_path / "artifact")
    loaded = models.load_model(tmp_path / "artifact")
    assert torch.equal(own_logits(loaded, rows), own_logits(model, rows))
    changes = models.export_model(tmp_path / "artifact", folder, tmp_path / "out", "5GB").changes
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.equal(own_logits(plain, rows), own_logits(model, rows))
    assert bool(changes) == (tied and kind in ("head", "embeddings", "both", "saved"))


def test_an_adapter_that_is_a_prompt_is_refused(own, tmp_path):
    peft = pytest.importorskip("peft")
    folder = own()
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config).save_pretrained(tmp_path / "adapter")
    with pytest.raises(UserError, match=r"PROMPT_TUNING\) cannot be merged") as refused:
        adopt(folder, tmp_path / "adapter")
    assert "\n" not in str(refused.value)


# -- more than text ----------------------------------------------------------------------------------------------------


def gemma3() -> Gemma3Config:
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 8, "patch_size": 4}
    text = SHAPE | {"head_dim": 8, "tie_word_embeddings": True}
    return Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=310)


def qwen3_5() -> Qwen3_5Config:
    text = SHAPE | {"head_dim": 8, "layer_types": ["full_attention"] * 2, "rope_parameters": None}
    text |= {
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_value_heads": 2,
        "linear_num_key_heads": 2,
    }
    return Qwen3_5Config(
        text_config=text, vision_config={"depth": 1, "hidden_size": 8, "num_heads": 2, "out_hidden_size": 16}
    )


@pytest.mark.parametrize(
    ("config", "whole", "text"),
    [
        (gemma3, "Gemma3ForConditionalGeneration", "Gemma3ForCausalLM"),
        (qwen3_5, "Qwen3_5ForConditionalGeneration", "Qwen3_5ForCausalLM"),
    ],
)
def test_of_a_model_of_more_than_text_the_text_model_is_adopted(config, whole, text, corpus, rows, tmp_path):
    torch.manual_seed(3)
    folder, kind = tmp_path / "own", getattr(transformers, whole)
    given = kind(config()).float()
    given.save_pretrained(folder)
    corpus.tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text("{}")
    assert models.width_and_layers(folder) == (16, 2) and limits(folder) == (VOCABULARY, 48)
    model, tokenizer = adopt(folder)
    assert type(model).__name__ == text
    torch.testing.assert_close(own_logits(model, rows), own_logits(given, rows))
    models.save_model(model, tokenizer, tmp_path / "artifact")
    exported = models.export_model(tmp_path / "artifact", folder, tmp_path / "out", "5GB")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert type(plain).__name__ == text and torch.equal(own_logits(plain, rows), own_logits(model, rows))
    assert exported.changes[0].startswith("the text model alone")
    assert not (tmp_path / "out" / "preprocessor_config.json").exists()


# -- what is handed over -----------------------------------------------------------------------------------------------


def test_an_exported_folder_differs_in_its_weights_alone(own, corpus, tmp_path):
    folder = own("gpt2")
    edit(folder / "config.json", pad_token_id=1, resid_pdrop=0.3)
    edit(folder / "generation_config.json", temperature=0.6, do_sample=False)
    edit(folder / "tokenizer_config.json", anything="else")
    for name in ("chat_template.jinja", "LICENSE", "merges.txt"):
        (folder / name).write_text("as it was")
    for name in ("README.md", "pytorch_model.bin", "old.gguf", "training_args.bin", "transformers.py"):
        (folder / name).write_text("the old model")
    model, tokenizer = adopt(folder)
    assert model.config.resid_pdrop == 0 and model.config.pad_token_id is None
    models.save_model(model, tokenizer, tmp_path / "artifact")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "added_tokens.json").write_text("of another run")
    assert models.export_model(tmp_path / "artifact", folder, tmp_path / "out", "5GB") == ("float32", ())
    out = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.suffix != ".safetensors"}
    given = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix not in (".safetensors", ".md")}
    assert out == {name: text for name, text in given.items() if not name.endswith((".bin", ".gguf", ".py"))}


def test_settings_that_the_given_folder_lacks_are_not_added(own, tmp_path):
    folder = own()
    models.save_model(*adopt(folder), tmp_path / "artifact")
    (folder / "generation_config.json").unlink()
    models.export_model(tmp_path / "artifact", folder, tmp_path / "out", "5GB")
    assert not (tmp_path / "out" / "generation_config.json").exists()

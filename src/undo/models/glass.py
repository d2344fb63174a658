"""The small published models of the package glassllm 0.1.0 (MIT) as Hugging Face folders, to try things out on.

    python -m undo.models.glass en ./alice      # Lewis Carroll; pt: Machado de Assis; 852,608 weights each

They are Llamas but for how they are written: matrices are (in, out), and rotary pairs lie side by side.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from undo.models.build import save_model
from undo.models.folder import package_folder
from undo.spec.base import nearest
from undo.spec.errors import UserError

LANGUAGES = ["en", "pt"]
SPECIALS = ["<pad>", "<unk>", "<bos>", "<eos>"]
NAMES = {
    "norm1.gamma": "input_layernorm.weight",
    "norm2.gamma": "post_attention_layernorm.weight",
    "attn.W_Q": "self_attn.q_proj.weight",
    "attn.W_K": "self_attn.k_proj.weight",
    "attn.W_V": "self_attn.v_proj.weight",
    "attn.W_O": "self_attn.o_proj.weight",
    "ffn.W1": "mlp.gate_proj.weight",
    "ffn.W3": "mlp.up_proj.weight",
    "ffn.W2": "mlp.down_proj.weight",
}


def write_glass(language: str, folder: Path) -> None:
    """Writes a model and its tokenizer. Raises UserError without the package, or for another language."""
    if language not in LANGUAGES:
        raise UserError(f"glassllm has no '{language}'; {nearest(language, LANGUAGES)}")
    weights = package_folder("glassllm", "pip install 'undo-llm[models]'") / "weights"
    tokenizer = glass_tokenizer(weights / f"{language}.tokenizer.json")
    save_model(glass_model(weights / f"{language}.npz"), tokenizer, folder)


def glass_model(path: Path) -> LlamaForCausalLM:
    """The model of a file of arrays, fp32."""
    with np.load(path, allow_pickle=False) as arrays:
        given = json.loads(str(arrays["__config__"]))
        weights = {name: torch.from_numpy(arrays[name]).float() for name in arrays.files if name != "__config__"}
    model = LlamaForCausalLM(_config(given, weights["blocks.0.ffn.W1"].shape[1]))
    heads = {"attn.W_Q": given["n_heads"], "attn.W_K": given["n_kv_heads"]}
    ours = {"model.embed_tokens.weight": weights.pop("E"), "model.norm.weight": weights.pop("norm_f.gamma")}
    for name, weight in weights.items():
        _, layer, part = name.split(".", 2)
        matrix = weight.T if weight.ndim == 2 else weight
        ours[f"model.layers.{layer}.{NAMES[part]}"] = _half_split(matrix, heads[part]) if part in heads else matrix
    model.load_state_dict(ours | {"lm_head.weight": ours["model.embed_tokens.weight"]})
    return model


def glass_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a file of merges: NFC, spaces are written `▁`, chunks are words with the spaces before them."""
    given = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = [*SPECIALS, *given["alphabet"], *("".join(pair) for pair in given["merges"])]
    merges = [(first, second) for first, second in given["merges"]]
    ids = {token: id for id, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n|▁*[^▁\n]+|▁+"), "isolated")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    specials = {f"{token.strip('<>')}_token": token for token in SPECIALS}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **specials)


def _config(given: dict, mlp_width: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=given["vocab_size"],
        hidden_size=given["d_model"],
        num_hidden_layers=given["n_layers"],
        num_attention_heads=given["n_heads"],
        num_key_value_heads=given["n_kv_heads"],
        intermediate_size=mlp_width,
        max_position_embeddings=given["max_len"],
        rms_norm_eps=given["eps"],
        rope_parameters={"rope_type": "default", "rope_theta": given["rope_base"]},
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )


def _half_split(matrix_OD: Tensor, heads: int) -> Tensor:
    """Rows of each head with the first of all rotary pairs before the second of all, as Llama has them."""
    pairs_HPSD = matrix_OD.view(heads, -1, 2, matrix_OD.shape[1])
    return pairs_HPSD.transpose(1, 2).reshape(matrix_OD.shape)


if __name__ == "__main__":
    try:
        write_glass(sys.argv[1], Path(sys.argv[2]))
    except IndexError:
        sys.exit("usage: python -m undo.models.glass en|pt FOLDER")
    except UserError as error:
        sys.exit(f"error: {error}")

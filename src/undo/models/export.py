"""An artifact's model as a plain folder that differs from the given one in its weights."""

import copy
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from undo.models.folder import weight_files
from undo.models.pretrained import drop_unknown_ids

SETTINGS = (".json", ".jinja", ".txt", ".model", ".spm", ".tiktoken")
"""Kinds of files that are handed on as they are. Weights in other formats are not: they would be the old ones. Nor is
code: none of it was run, so nothing is known of it."""
LICENCES = ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY")
TEMPLATES = "additional_chat_templates"
BEYOND_TEXT = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
DTYPES = {"F64": torch.float64, "F16": torch.float16, "BF16": torch.bfloat16}


class Exported(NamedTuple):
    """The precision of the weights, and what else differs from the given folder."""

    precision: str
    changes: tuple[str, ...]


def export_model(artifact: Path, like: Path, folder: Path, shard_size: str) -> Exported:
    """Writes an artifact's weights in the precision of the folder `like`, in shards of at most `shard_size` (such as
    5GB), beside that folder's own files: configuration, tokenizer, generation settings, licence.

    The configuration is another one only where the model is: where head and embeddings part, where the given model was
    of more than text, where transformers could not load the given one as it stands.
    """
    dtype = precision_of(like)
    model = AutoModelForCausalLM.from_pretrained(artifact, dtype=dtype)
    folder.mkdir(parents=True, exist_ok=True)
    for old in _handed_on(folder) + list(folder.glob("*.safetensors*")):  # another run's, of another size
        old.unlink()
    model.save_pretrained(folder, max_shard_size=shard_size)
    config, changes = _config_for(model, like, dtype)
    for name in ("config.json", "generation_config.json"):  # the given ones, or none
        (folder / name).unlink(missing_ok=True)
    for path in _handed_on(like):
        if not (config.model_type != _said_type(like) and path.name in BEYOND_TEXT):
            (folder / path.relative_to(like)).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, folder / path.relative_to(like))
    if changes:
        config.save_pretrained(folder)
    return Exported(str(dtype).removeprefix("torch."), changes)


def precision_of(folder: Path) -> torch.dtype:
    """The precision that most of a folder's tensors have."""
    found: Counter[str] = Counter()
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as file:
            found.update(file.get_slice(name).get_dtype() for name in file.keys())  # noqa: SIM118  # no mapping
    return DTYPES.get(found.most_common(1)[0][0], torch.float32) if found else torch.float32


def _handed_on(folder: Path) -> list[Path]:
    """The files of a folder that are neither weights nor a card."""
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    kept = [path for path in files if path.suffix in SETTINGS or path.stem.upper().startswith(LICENCES)]
    templates = (folder / TEMPLATES).glob("*.jinja")
    return sorted(path for path in (*kept, *templates) if not path.name.endswith(".index.json"))


def _said_type(folder: Path) -> str | None:
    return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")


def _config_for(model: PreTrainedModel, like: Path, dtype: torch.dtype) -> tuple[PretrainedConfig, tuple[str, ...]]:
    """The configuration to hand over, and in which ways it is not the given one."""
    given = AutoConfig.from_pretrained(like, trust_remote_code=False, local_files_only=True)
    config, changes = copy.deepcopy(given.get_text_config()), []
    if type(given) is not type(model.config):
        changes.append(f"the text model alone, of a {type(given).__name__.removesuffix('Config')}")
    tied = getattr(model.config, "tie_word_embeddings", None)
    if tied not in (getattr(given, "tie_word_embeddings", None), getattr(config, "tie_word_embeddings", None)):
        changes.append(f"tie_word_embeddings is {json.dumps(tied)}, since an adapter changed one side alone")
    changes += [f"{name} is left out: no row of the embeddings stands for it" for name in drop_unknown_ids(config)]
    if hasattr(config, "transformers_weights"):
        changes.append("weights are where transformers looks for them by itself")
        delattr(config, "transformers_weights")
    config.dtype = dtype
    if tied is not None:
        config.tie_word_embeddings = tied
    config.architectures = [type(model).__name__]
    return config, tuple(changes)

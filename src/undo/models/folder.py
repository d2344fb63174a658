"""A model's folder before anything is loaded from it: where it is, what tells it from others, its size. No torch."""

import difflib
import hashlib
import importlib.util
import json
import math
from pathlib import Path
from typing import Any

from undo.spec.digest import file_digest
from undo.spec.errors import UserError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
"""Files of which a folder with a tokenizer has at least one."""
READ_WHOLE = (*TOKENIZER_FILES, "config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
"""Files that say what the weights mean: hashed to the last byte where they are there."""
VOCABULARIES = ("merges.txt", "*.model", "*.spm", "*.tiktoken")
"""Further files that a tokenizer may be made of: hashed too."""
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
"""What transformers reads weights from: the file, otherwise the shards that the index names."""
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def find_folder(path: str, revision: str | None = None) -> Path:
    """The folder of a local path, or of a model of the hub that lies in its cache already.

    Raises UserError where there is none, or where it holds no model that can be used.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        folder = _cached(path, revision)
    elif revision is not None:
        raise UserError(f"pretrained.revision names a version on the hub, but '{path}' is a folder; leave it out")
    if not (folder / "config.json").is_file():
        if (folder / ADAPTER_FILES[0]).is_file():
            raise UserError(f"'{path}' is an adapter without its model; name the model, and --adapter {path}")
        raise UserError(f"'{path}' holds no config.json; name a folder with a model as transformers saves it")
    if (folder / ADAPTER_FILES[0]).is_file():  # transformers would load the model that this file names
        raise UserError(
            f"'{path}' holds a model and an adapter; move the adapter to a folder of its own, and --adapter"
        )
    weight_files(folder)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise UserError(f"'{path}' holds no tokenizer (one of {', '.join(TOKENIZER_FILES)}); save it beside the model")
    refuse_links_outside(folder)
    return folder


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers reads this folder's weights from, shards in the order of their names.

    Raises UserError where there are none, where one is missing or lies outside the folder, and for anything but
    safetensors: other formats may run code when they are read.
    """
    named = _read_json(folder / "config.json").get("transformers_weights")
    first = named or next((name for name in (WEIGHTS, INDEX) if (folder / name).is_file()), None)
    if first is None:
        raise UserError(f"'{folder}' holds no weights in safetensors; save the model again with a recent transformers")
    if not str(first).endswith(".index.json"):
        return [_weight_file(folder, first, "config.json")]
    shards = _read_json(_inside(folder, first, "config.json")).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise UserError(f"{folder / first} names no weights; copy it from the model's source again")
    names = sorted({str(name) for name in shards.values()})
    return [_weight_file(folder, name, first) for name in names]


def _weight_file(folder: Path, name: str, said_by: str) -> Path:
    if not str(name).endswith(".safetensors"):
        raise UserError(
            f"{folder / said_by} names '{name}', which is no safetensors file; save the model as safetensors"
        )
    path = _inside(folder, name, said_by)
    if not path.is_file():
        raise UserError(f"{folder / said_by} names '{name}', which is missing; download it again")
    return path


def _inside(folder: Path, name: str, said_by: str) -> Path:
    if Path(name).is_absolute() or not _stays(folder, folder / name):
        raise UserError(f"{folder / said_by} names '{name}', which lies outside the folder; move it in")
    return folder / name


def _stays(folder: Path, path: Path) -> bool:
    """Whether a path ends in the folder; those of the hub's cache are links to its `blobs`."""
    real, home = path.resolve(), folder.resolve()
    cached = home.parent.name == "snapshots" and real.is_relative_to(home.parent.parent / "blobs")
    return cached or real.is_relative_to(home)


def refuse_links_outside(folder: Path) -> None:
    """Raises UserError for a link that leaves the folder: it may show any file, and that would be handed on."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and not _stays(folder, path):
            raise UserError(f"{path} is a link to a file outside the folder; put a copy in its place")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings by name; copy it from the model's source again")
    return content


def find_adapter(path: str) -> Path:
    """The folder of a PEFT adapter. Raises UserError where it holds none that can be read safely."""
    folder = Path(path).expanduser()
    for name in ADAPTER_FILES:
        if not (folder / name).is_file():
            raise UserError(f"'{path}' holds no {name}; name a folder with an adapter as PEFT saves it")
    refuse_links_outside(folder)
    if importlib.util.find_spec("peft") is None:
        raise UserError("merging an adapter needs the package 'peft'; install it: pip install 'undo-llm[audit]'")
    return folder


def package_folder(package: str, install: str) -> Path:
    """Where an installed package's files lie. Raises UserError that names the command to install it."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise UserError(f"this model needs the package '{package}'; install it: {install}")
    return Path(found.submodule_search_locations[0])


def _cached(name: str, revision: str | None) -> Path:
    """Nothing is downloaded: a study must not depend on what a name means tomorrow."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except HFValidationError:
        hint = _near(name) or "name one with a model as transformers saves it"
        raise UserError(f"'{name}' is no folder; {hint}") from None
    except LocalEntryNotFoundError:
        version = f" --revision {revision}" if revision else ""
        near, fetch = _near(name), f"hf download {name}{version}"
        hint = f"{near} Or: {fetch}" if near else fetch
        raise UserError(f"'{name}' is no folder and no model in the hub's cache; {hint}") from None


def _near(name: str) -> str:
    """The folder that was meant, where there is one."""
    place = Path(name).expanduser()
    if place.is_file():
        return f"it is a file, name the folder that holds it, '{place.parent}'."
    folders = [str(path) for path in place.parent.iterdir() if path.is_dir()] if place.parent.is_dir() else []
    near = difflib.get_close_matches(str(place), folders, n=1)
    return f"did you mean '{near[0]}'?" if near else ""


def fingerprint(folder: Path, adapter: Path | None = None) -> str:
    """16 hexadecimal digits that change with configuration, tokenizer and weights, and not with the folders' places.

    Every byte counts: an edit of some rows of a matrix makes another model. Raises UserError for a file cut off.
    """
    digest = hashlib.sha256()
    weights, index = weight_files(folder), [folder / INDEX] if not (folder / WEIGHTS).is_file() else []
    for path in [*_settings_files(folder), *(path for path in index if path.is_file())]:
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    for path in weights:
        _entries(path)  # a pointer in place of weights is no model
        digest.update(f"{path.name} {file_digest(path)}\n".encode())
    if adapter is not None:
        for name in ADAPTER_FILES:
            digest.update(f"{name}\n".encode() + (adapter / name).read_bytes())
    return digest.hexdigest()[:16]


def _settings_files(folder: Path) -> list[Path]:
    """Configuration and tokenizer, in the order of their names."""
    found = {path for pattern in (*READ_WHOLE, *VOCABULARIES) for path in folder.glob(pattern) if path.is_file()}
    return sorted(found)


def count_weights(folder: Path) -> int:
    """Entries of all tensors that are loaded from the folder."""
    return sum(_entries(path) for path in weight_files(folder))


def width_and_layers(folder: Path) -> tuple[int, int]:
    """Of the text model, as transformers reads the configuration. Raises UserError where it has none."""
    config = text_config(folder)
    try:
        return int(config.hidden_size), int(config.num_hidden_layers)
    except (AttributeError, TypeError, ValueError):
        raise UserError(f"{folder / 'config.json'} says no hidden_size and num_hidden_layers of a text model") from None


def text_config(folder: Path) -> Any:
    """The configuration of a folder's text model; the whole one where there is nothing else in it.

    Raises UserError where transformers cannot read it without running code of the folder. This imports torch.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True).get_text_config()
    except Exception as error:  # whatever is in a stranger's file
        raise UserError(f"transformers cannot read {folder / 'config.json'}: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """An exception's message for a user."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]


def _entries(path: Path) -> int:
    """Entries of a safetensors file's tensors, by its header: 8 bytes of length, JSON, then the data."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= size else b""
    try:
        described = json.loads(header)
        described.pop("__metadata__", None)
        if 8 + length + max((tensor["data_offsets"][1] for tensor in described.values()), default=0) > size:
            raise ValueError("cut off")
        return sum(math.prod(tensor["shape"]) for tensor in described.values())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is no safetensors file; is it cut off, or a pointer (git lfs pull)?") from None

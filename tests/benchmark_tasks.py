"""Tasks for lm-eval in folders of their own: a YAML file and items as JSON lines."""

import json
from pathlib import Path

import yaml

HEADER = "The following are multiple choice questions (with answers) about words.\n\n"
WMDP_FORM = {  # the form of lm-eval's wmdp_bio, mmlu and their like
    "description": HEADER,
    "doc_to_text": "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\n"
    "Answer:",
    "doc_to_choice": ["A", "B", "C", "D"],
    "doc_to_target": "answer",
}
OPTIONS_FORM = {  # the choices themselves are the answers, written right after the prompt
    "doc_to_text": "prompt",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
    "target_delimiter": "",
}


def questions(count: int = 24) -> list[dict]:
    """Rows in the form of WMDP's and MMLU's."""
    return [
        {"question": f" Word {n * 7 % 23}? ", "choices": [f"{c}{n}" for c in "wxyz"], "answer": n * 5 % 4}
        for n in range(count)
    ]


def write_task(folder: Path, name: str, form: dict, rows: list[dict]) -> Path:
    """A task of that name in a folder, which may hold others."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 3},
        **form,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task))
    return folder


def write_group(folder: Path, name: str, members: list[str]) -> None:
    """A group whose accuracy is that of all its items."""
    metrics = [{"metric": "acc", "aggregation": "mean", "weight_by_size": True}]
    group = {"group": name, "task": members, "aggregate_metric_list": metrics, "metadata": {"version": 1}}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(group))

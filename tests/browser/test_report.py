"""The report as its readers use it: switches, slider, downloads, a phone, paper and the dark; no network."""

import csv
import json

import pytest

from tests.browser.axe import serious_findings
from tests.browser.chromium import MARKS, SECOND, chromium, listen
from tests.report_synthetic import SCORES_SHOWN, STEPS, as_losses, make_results, read, with_oracle_students
from undo.api import write_report
from undo.report.compare import compare, write_comparison
from undo.report.numbers import percent
from undo.report.results import scored

pytestmark = MARKS


@pytest.fixture(scope="module")
def results():
    return with_oracle_students(make_results())


@pytest.fixture(scope="module")
def file(results, tmp_path_factory):
    return written(results, tmp_path_factory.mktemp("out"))


def written(results, folder):
    """The page of a study's results."""
    (folder / "report").mkdir(parents=True)
    (folder / "report" / "results.json").write_text(json.dumps(read(results).content), encoding="utf-8")
    return write_report(folder)


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser):
    """Opens pages offline; none may say anything to the console or ask for anything but itself."""
    contexts, said, asked = [], [], []

    def visit(file, **options):
        contexts.append(browser.new_context(offline=True, **{"viewport": {"width": 1180, "height": 900}} | options))
        page = contexts[-1].new_page()
        page.set_default_timeout(30 * SECOND)
        listen(page, said, asked)
        page.goto(file.as_uri())
        page.wait_for_selector(".plot .main-svg")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert said == []
    assert all(url.startswith(("file://", "data:", "blob:")) for url in asked)


def drawn(page, id: str) -> dict[str, list[float]]:
    """The y values of a figure's named curves, as the drawing has them."""
    return page.evaluate(
        "id => Object.fromEntries(document.getElementById(id).data.map((t) => [t.name, [...t.y]]))", id
    )


def menu(page, label: str):
    return page.locator("label", has_text=label).locator("select")


def test_headline_curves_and_tables_show_the_numbers_of_results_json(file, visit, results):
    page, scores = visit(file), read(results).scores_at("relearn", 150)
    points = page.evaluate(
        """document.getElementById('headline').data.filter((t) => t.hovertemplate)
        .map((t) => [/<b>(.*?)<.b>/.exec(t.hovertemplate)[1], t.x[0], t.y[0]])"""
    )
    placed = [s for s in scores.values() if s.relative_robustness is not None]
    assert points == [[s.model, s.relative_compute, s.relative_robustness] for s in placed]
    assert {"suppressed", "oracle"} <= set(page.locator("#headline .annotation-text").all_text_contents())
    envelope = [e.mean for _, e in read(results).envelope("relearn", "fresh-rmu")]
    assert drawn(page, "relearning-0-1")["fresh student"] == envelope
    rows = page.locator("table", has_text="After 150 steps").first.locator("tbody tr").all()  # evidence says it too
    shown = {row.locator("th").text_content(): numbers(row) for row in rows}
    assert shown == {id: [getattr(s, f) for f in SCORES_SHOWN if getattr(s, f) is not None] for id, s in scores.items()}
    answer = page.locator("#answer .lead").text_content()
    assert scored(scores["oracle"], "recovery").text(percent) in answer


def numbers(row) -> list[float]:
    """The full values of a table's row."""
    return [float(each.get_attribute("value")) for each in row.locator("data").all()]


def values(results, model, rate, seed, skill="forget"):
    curve = next(
        c for c in read(results).curves_of("relearn", model, skill)[seed] if c.variant["learning_rate"] == rate
    )
    return [point.value(skill) for point in curve.points]


@pytest.mark.parametrize("options", [{"viewport": {"width": 390, "height": 800}}, {"color_scheme": "dark"}, {}])
def test_every_figure_draws_and_nothing_is_wider_than_the_screen(file, visit, options):
    page = visit(file, **options)
    plots, shown = (page.locator(css).count() for css in (".plot", ".plot .main-svg:first-child"))
    assert plots == shown == 12
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert serious_findings(page) == []


def test_switches_draw_the_curves_of_results_json(file, visit, results):
    page, id = visit(file), "explorer-0-0"
    menu(page, "Method").select_option("rmu")
    menu(page, "Variant").select_option("learning_rate 0.001")
    menu(page, "Seed").select_option("2")
    names = {"suppressed": "rmu", "oracle": "oracle", "UNDO α 0.3": "undo-0.3-rmu", "fresh student": "fresh-rmu"}
    for name, model in names.items():
        assert drawn(page, id)[name] == values(results, model, 1e-3, 2)
    menu(page, "Student (α)").select_option(label="UNDO α 0.6")
    assert set(drawn(page, id)) == {"base", "oracle", "suppressed", "UNDO α 0.6"}
    menu(page, "Variant").select_option("every variant")
    assert len(drawn(page, id)) == 4 * 3  # two rates and the worst case
    menu(page, "Skill").select_option("neutral")
    menu(page, "Variant").select_option("learning_rate 0.003")
    assert drawn(page, id)["suppressed"] == values(results, "rmu", 3e-3, 2, "neutral")
    path = page.locator(f"#{id} .scatterlayer .js-line").first
    before = path.get_attribute("d")
    menu(page, "Seed").select_option("1")
    assert path.get_attribute("d") != before
    method, others = menu(page, "Method"), set(drawn(page, id))
    method.focus()
    page.keyboard.press("ArrowUp")
    assert method.input_value() == "maxent" and set(drawn(page, id)) != others
    method.select_option("oracle")
    menu(page, "Skill").select_option("forget")
    assert menu(page, "Student (α)").locator("option").all_text_contents()[0] == "all"
    assert "fresh student" in drawn(page, id) and "suppressed" not in drawn(page, id)


def test_the_slider_moves_the_points_to_another_budget(file, visit, results):
    page, slider = visit(file), "input[type=range]"
    points = lambda: page.evaluate("document.getElementById('pareto-0-0').data.map((t) => [t.x[0], t.y[0]])")  # noqa: E731
    for i, step in enumerate(STEPS):
        page.locator(slider).fill(str(i))
        assert page.locator(f"{slider} + output").text_content() == str(step)
        expected = [read(results).kept("relearn", id, step) for id in read(results).by_id]
        assert points() == [[forget.mean, retain.mean] for forget, retain in expected]
    page.locator(slider).press("ArrowLeft")
    assert page.locator(f"{slider} + output").text_content() == str(STEPS[-2])


def saved(page, name: str):
    with page.expect_download() as found:
        page.get_by_role("button", name=name).first.click()
    return found.value.path()


def test_tables_and_figures_can_be_saved(file, visit, results):
    page = visit(file)
    rows = list(csv.reader(saved(page, "CSV: After 150 steps of relearn").read_text().splitlines()))
    recovery = {row[0]: float(row[4]) for row in rows[1:]}
    assert recovery == {id: score.recovery for id, score in read(results).scores_at("relearn", 150).items()}
    points = list(csv.DictReader(saved(page, "CSV: Relearning under relearn").read_text().splitlines()))
    assert [float(row["y"]) for row in points if row["curve"] == "oracle"] == drawn(page, "explorer-0-0")["oracle"]
    assert saved(page, "SVG: What each model cost").read_text().startswith("<svg")
    assert saved(page, "PNG: Robustness over compute").read_bytes()[1:4] == b"PNG"
    claims = list(csv.DictReader(saved(page, "CSV: Each claim").read_text().splitlines()))
    assert {row["claim"][:3] for row in claims} >= {"C1.", "C2.", "C3."} and claims[0]["verdict"] == "holds"


def test_sample_answers_are_those_before_and_after_the_worst_variant(file, visit):
    page = visit(file)
    cells = page.locator("#answers tr", has=page.get_by_role("rowheader", name="base", exact=True)).locator("td")
    assert cells.all_text_contents() == ["✓ 42", "after 0.003"]


def test_on_paper_there_are_no_controls_and_light_figures(file, visit):
    page = visit(file, color_scheme="dark")
    ink = lambda: page.evaluate("getComputedStyle(document.querySelector('#headline .xtitle')).fill")  # noqa: E731
    light, dark = "rgb(31, 39, 48)", "rgb(215, 221, 229)"
    assert ink() == dark
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    for css in (".controls", ".save", ".records", "nav"):
        assert not page.locator(css).first.is_visible()
    assert ink() == light and page.locator("#headline .main-svg").first.bounding_box()["width"] == 640
    heading, caption = (page.locator(css).first.bounding_box() for css in ("#evidence > p", "#evidence caption"))
    assert heading["y"] + heading["height"] <= caption["y"]
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert ink() == dark


def test_captions_on_a_phone_keep_clear_of_the_buttons(file, visit):
    page = visit(file, viewport={"width": 390, "height": 800})
    for figure in page.locator("figure").all():
        caption = figure.locator("figcaption").evaluate(
            "(e) => e.getBoundingClientRect().right - parseFloat(getComputedStyle(e).paddingRight)"
        )
        assert caption <= figure.locator(".save").bounding_box()["x"]
    for region in page.locator(".wide:visible").all():
        caption, button = (
            region.locator("caption span").bounding_box(),
            region.locator("xpath=preceding-sibling::*[1]//button").bounding_box(),
        )
        assert caption["x"] + caption["width"] <= button["x"] or button["y"] + button["height"] <= caption["y"]


def test_losses_are_drawn_as_far_as_the_attack_went_and_a_search_shows_its_settings(visit, results, tmp_path):
    losses = as_losses(results)
    for curve in losses["curves"]:
        curve["points"][0] |= {"forget": 40.0}
    page = visit(written(losses, tmp_path / "losses"))
    ranges = page.evaluate(
        "['relearning-0-0', 'explorer-0-0'].map((id) => document.getElementById(id).layout.yaxis.range)"
    )
    assert all(7 < high < 9 for _, high in ranges)
    search = {**results, "curves": [], "scores": [], "answers": []}
    page = visit(written(search, tmp_path / "search"))
    assert drawn(page, "settings")["rmu"] == [read(results).mean("rmu", "retain").mean]
    assert serious_findings(page) == []


def test_several_studies_side_by_side(visit, results, tmp_path):
    other = json.loads(json.dumps(make_results(methods=("maxent",))).replace("synthetic-0a1b", "other-1b2c"))
    write_comparison(compare([read(results), read(other)]), tmp_path / "comparison.html")
    page = visit(tmp_path / "comparison.html", color_scheme="dark")
    assert [name for name in drawn(page, "headline")] == ["synthetic-0a1b", "other-1b2c"]
    assert page.locator("#relearning .main-svg:first-child").count() == 3
    assert page.locator("#matching .main-svg:first-child").count() == 2
    assert serious_findings(page) == []

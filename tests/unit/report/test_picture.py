"""Pictures say what results.json says: which curves, points, labels and ticks they have."""

import json
import re
import subprocess
import sys
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from tests.report_synthetic import as_losses, make_results, read, with_students
from tests.unit.report.test_figures import of_settings
from undo.report import canvas, picture, settings_picture
from undo.report.numbers import percent
from undo.report.results import label


@pytest.fixture
def results():
    return make_results()


def drawn(results):
    return picture.draw(read(results))


def texts(svg: str) -> list[str]:
    elements = ElementTree.fromstring(svg).iter()
    return ["".join(each.itertext()) for each in elements if each.tag.endswith("}text")]


def ids(svg: str, kind: str) -> list[str]:
    """What was drawn of a kind, such as `curve`, by model."""
    return [id.removeprefix(f"{kind}-") for id in re.findall(r'id="([^"]+)"', svg) if id.startswith(f"{kind}-")]


def miss_the_stop_rule(results, model):
    for row in results["models"]:
        if row["id"] == model:
            row["distil"] = row["distil"] | {"gap": 0.4}


def test_every_line_ends_in_its_name_and_last_value(results):
    svg = drawn(results)
    shown = ["maxent", "undo-0.3-maxent", "undo-0.6-maxent", "fresh-maxent", "oracle"]
    assert ids(svg, "curve") == shown == ids(svg, "point")
    for id in shown:
        _, last = read(results).envelope("relearn", id)[-1]
        assert f"{label(read(results).first[id])}\u2003{percent(last.mean)}" in texts(svg)


def test_the_same_results_are_the_same_file(results):
    assert drawn(results) == drawn(results)


def test_losses_are_drawn_where_they_are(results):
    svg = drawn(as_losses(results))
    assert "forget loss (lower: relearnt)" in texts(svg) and "nan" not in svg.lower()


def test_a_picture_without_robustness_says_so(results):
    results["scores"] = [row | {"relative_robustness": None} for row in results["scores"]]
    assert "relative robustness is not defined here" in texts(drawn(results)) and not ids(drawn(results), "point")


def test_a_loss_far_above_the_others_does_not_flatten_the_picture():
    results = as_losses(make_results())
    assert not any("≥" in text for text in texts(drawn(results)))
    for curve in results["curves"]:
        if curve["model"] == "oracle":
            curve["points"][0] |= {"forget": 40.0}
    assert any("≥" in text for text in texts(drawn(results))) and "40" not in texts(drawn(results))


def test_the_student_that_read_text_after_its_teacher_is_shown(results):
    """The more robust of two, beside the student that was taught to the end."""
    told = {"init": "fresh", "teachers": ["maxent", "rmu"], "stream": "retain", "steps": 900}
    names = {
        "base_init-": "fresh-retain-stream-text0.5-steps900-",
        "undo-0.3-": "fresh-retain-stream-text0.9-steps900-",
    }
    text = json.dumps(with_students(results, told | {"text_share": 0.5}, told | {"text_share": 0.9}))
    for old, new in names.items():
        text = text.replace(old, new)
    made = json.loads(text)
    for score in made["scores"]:
        if score["model"].startswith(tuple(names.values())):
            score["recovery"] = 0.1 if "text0.9" in score["model"] else 0.9
    shown = ids(drawn(made), "curve")
    assert "fresh-retain-stream-text0.9-steps900-maxent" in shown and not any("text0.5" in id for id in shown)
    other = json.loads(text.replace("text0.9", "other0.9"))
    assert any("text0.5" in id for id in ids(drawn(other), "curve"))


def test_a_student_that_missed_the_stop_rule_is_not_shown(results):
    """Noise alone may be robust because everything is lost."""
    assert "undo-0.6-maxent" in ids(drawn(results), "curve")
    miss_the_stop_rule(results, "undo-0.6-maxent")
    shown = ids(drawn(results), "curve")
    assert "undo-0.6-maxent" not in shown and "undo-0.3-maxent" in shown


def test_other_students_are_faint_points_unless_they_missed_the_stop_rule(results):
    assert ids(drawn(results), "other") == ["base_init-maxent"]
    miss_the_stop_rule(results, "base_init-maxent")
    assert ids(drawn(results), "other") == []


@pytest.mark.parametrize(("high", "beyond"), [(1.3, []), (3.0, ["fresh-maxent"])])
def test_an_interval_that_goes_on_beyond_the_panel_has_an_arrow(results, high, beyond):
    for score in results["scores"]:
        score["relative_robustness_ci"] = [0.6, high] if score["model"] == "fresh-maxent" else None
    assert ids(drawn(results), "beyond") == beyond


def test_long_names_get_a_letter_and_a_key(results):
    name = "undo-1-beta1-reinit-of-layers-maxent"
    shown = texts(drawn(json.loads(json.dumps(results).replace("undo-0.6-maxent", name))))
    assert f"A {name}" in shown and "A" in shown and any(text.startswith("A\u2003") for text in shown)
    assert not any(text.startswith("A ") for text in texts(drawn(results)))


def test_a_key_that_is_too_long_makes_the_picture_higher(results, monkeypatch):
    def height() -> float:
        return float(re.search(r'<svg[^>]* height="([\d.]+)pt"', drawn(results))[1])  # type: ignore[index]

    monkeypatch.setattr(picture, "ROOM", 4)
    in_one_line = height()
    monkeypatch.setattr(picture, "KEY_ROOM", 4)
    assert height() == pytest.approx(in_one_line + 4 * canvas.LINE)


def test_labels_keep_their_distance():
    moved = canvas.spread([100, 101, 102, 390, 398], gap=17, low=50, high=398)
    gaps = [above - below for below, above in pairwise(moved)]
    assert min(gaps) >= 17 and max(moved) <= 398
    assert canvas.spread([60, 200], gap=17, low=50, high=398) == [60, 200]


def test_a_label_keeps_off_an_interval_where_there_is_room():
    point, bar, within = (800.0, 250.0), (750.0, 200.0, 754.0, 300.0), (650.0, 112.0, 1050.0, 398.0)
    assert canvas.free_place(point, 80, [], within)[0] < 800
    assert canvas.free_place(point, 80, [bar], within)[0] > 800
    assert canvas.free_place(point, 80, [within], within) == canvas.free_place(point, 80, [], within), "no room at all"


def test_a_comparison_of_settings_has_a_point_per_model_and_panel():
    results = of_settings()
    svg = settings_picture.draw(read(results))
    assert len(ids(svg, "point")) == 3 * len(read(results).by_id) and not ids(svg, "hollow")
    assert "retain after 40 steps" in texts(svg) and settings_picture.LOCALISED not in texts(svg)
    results["recipe"]["suppress"]["rmu-3"]["start"] = "initial"
    miss_the_stop_rule(results, "fresh-maxent")
    svg = settings_picture.draw(read(results))
    assert settings_picture.LOCALISED in texts(svg)
    assert [id.partition("-")[2] for id in ids(svg, "hollow")] == ["fresh-maxent"] * 3


def test_matplotlib_is_loaded_for_a_picture_alone():
    script = "import sys, undo.report.page, undo.report.picture, undo.cli.main; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "False"

"""The certificate of an audit as its readers open it: light, dark, a phone; no script, no network."""

import pytest

from tests.browser.axe import serious_findings
from tests.browser.chromium import MARKS, chromium, listen
from undo.given.certificate import AttackResult, Certificate
from undo.report.certificate import write_certificate

pytestmark = MARKS
MODEL = {"name": "a-model", "sha256": "0" * 64}
ASKED = {"task": "a_task", "metric": "acc", "part_of": None, "harness": "lm-eval 0.4", "n_items": 90, "n_cut": 0}
BENCHMARK = ASKED | {"model": "model", "seed": 1, "n_shot": 0, "value": 0.5, "stderr": 0.02}


def row(attack: str, budget: int, fraction: float, within: bool) -> AttackResult:
    interval = (fraction - 0.1, fraction + 0.1)
    oracle, unpaired = 0.1, (None, None, None)
    before = (attack, {"learning_rate": 1e-3}, budget, 9, 0.5, (0.4, 0.6), oracle, *unpaired)
    return AttackResult(*before, fraction, interval, 1.5, within)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    rows = [row("relearn", 10, 0.3, True), row("relearn", 100, 0.9, False), row("lora", 100, 0.4, True)]
    certificate = Certificate(
        study="audit-0a1b",
        suite="quick",
        **dict.fromkeys(("model", "oracle", "before", "forget", "retain"), MODEL),
        metric={"name": "exact match", "unit": "fraction", "n_items": 120, "higher_is_better": True},
        scale={"zero": "the oracle under the same attack", "one": "the model before"},
        utility={"retain_loss": 1.4, "before_retain_loss": 1.3, "margin": 0.1, "limit": 1.54},
        attacks=rows,
        worst_case=rows[2],
        worst_unconstrained=rows[1],
        outcome="COMES BACK",
        headline="COMES BACK 40 %.",
        verdict="COMES BACK 40 %.\nlora brings back 40 %.",
        warnings=["the original does not know the retain texts"],
        failures=[{"stage": "x", "label": "probe", "message": "loss is NaN"}],
        benchmarks=[BENCHMARK],
        environment={"python": "3.11", "packages": {"torch": "2.13"}},
    )
    folder = tmp_path_factory.mktemp("audit")
    write_certificate(certificate, folder)
    return folder


@pytest.mark.parametrize("options", [{"viewport": {"width": 390, "height": 800}}, {"color_scheme": "dark"}, {}])
def test_the_certificate_is_accessible_fits_and_loads_nothing(folder, options):
    said, asked = [], []
    with chromium() as browser:
        page = browser.new_context(offline=True, **options).new_page()
        listen(page, said, asked)
        page.goto((folder / "certificate.html").as_uri())
        assert page.locator(".bar").count() == 2 and page.locator("tbody tr").count() == 3 + 1  # and a benchmark
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert serious_findings(page) == []
    assert said == [] and all(url.startswith(("file://", "data:")) for url in asked)

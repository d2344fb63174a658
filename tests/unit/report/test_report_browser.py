"""The page in a real browser, cut off from every network."""

import json
import shutil

import pytest
from report_synthetic import make_results

from undo.report.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
QUIET += ("--disable-background-networking", "--disable-component-update")


@pytest.mark.browser
def test_every_figure_draws_without_the_network(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "results.json").write_text(json.dumps(make_results(methods=("maxent",))), encoding="utf-8")
    page_file, said, asked = write_report(tmp_path), [], []
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        page = browser.new_context(offline=True, viewport={"width": 400, "height": 800}).new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        plots, drawn = (page.locator(css).count() for css in (".plot", ".plot .main-svg:first-child"))
        legend = "#grid-0-0 .scatterlayer .js-line"
        before = page.locator(legend).first.get_attribute("d")
        page.locator("select").select_option(label="neutral: oracle")
        page.wait_for_function("d => document.querySelector('#grid-0-0 .js-line').getAttribute('d') !== d", arg=before)
        wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
        browser.close()
    assert plots == drawn == 8
    assert said == [] and not wide
    assert all(url.startswith(("file://", "data:", "blob:")) for url in asked)

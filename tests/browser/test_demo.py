"""The demo as its visitors use it: real pages in a real browser, cut off from every network but this machine."""

import gc
import socket
import subprocess
import sys
import time
import weakref

import pytest

from tests.browser.axe import serious_findings
from tests.browser.chromium import MARKS, SECOND, chromium, listen
from undo.demo.relearning import Relearning

pytest.importorskip("gradio", reason="gradio is not installed: pip install -c constraints.txt -e '.[demo]'")
pytestmark = MARKS


WORDS = [
    "name=words",
    "pretrain.base_steps=20",
    "pretrain.oracle_steps=20",
    "data.dataset={name: language, max_passages: 400, test_items: 20, valid_items: 10}",
    "suppress={maxent: {method: maxent, steps: 4, batch_rows: 4, optim: {learning_rate: 1.0e-3}}}",
    "distil.students=[{init: noised, noise_alpha: [0.3], teachers: [maxent]}]",
    "distil.stop.max_steps=10",
    "attacks.relearn.skills=[forget]",
    "attacks.relearn.attack.learning_rates=[0.003]",
]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """The folder of a study of another setting, whose metric is a loss."""
    out = tmp_path_factory.mktemp("words")
    command = [sys.executable, "-m", "undo", "run", "smoke", *WORDS, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return next(out.glob("words-*"))


@pytest.fixture(scope="module")
def handlers(smoke, words):
    """The smoke study and one of another setting, at the handlers that serves them."""
    from undo.demo.handlers import Handlers
    from undo.demo.study_view import open_study

    return Handlers([open_study(smoke.folder), open_study(words)])


@pytest.fixture(scope="module")
def address(handlers):
    """Where the demo is served, in this process."""
    from undo.demo.serve import serving

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with serving(handlers, "127.0.0.1", port) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser, address):
    """Opens pages; in the end none of them may have said anything to the console or asked another machine."""
    contexts, said, asked = [], [], []

    def visit(**options):
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 1000}} | options))
        page = contexts[-1].new_page()
        page.set_default_timeout(60 * SECOND)
        listen(page, said, asked)
        page.goto(address)
        page.wait_for_selector("#curve .main-svg")
        page.wait_for_selector(".card")
        return page

    visit.said = said
    yield visit
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


@pytest.fixture
def slow(monkeypatch):
    """Attacks that are still under way after a while, however fast the machine is."""
    step = Relearning._step
    monkeypatch.setattr(Relearning, "_step", lambda live: (time.sleep(0.05), step(live)))


def attack(page, steps: int, whom: str | None = None) -> None:
    """Starts an attack of so many steps."""
    number = page.get_by_label("number input for Steps")
    number.fill(str(steps))
    number.press("Enter")
    if whom:
        page.get_by_role("radio", name=whom).check()
    page.click("#start")


def live_points(page) -> int:
    """Points of the live curve that are drawn: the last one of the figure, thick."""
    return page.evaluate(
        "[...document.querySelectorAll('#curve .trace')].at(-1)?.querySelectorAll('.point').length ?? 0"
    )


def ask(page, typed: str) -> str:
    """Asks and returns the prompt as the first card shows it."""
    page.evaluate("document.querySelector('#cards .cards').dataset.old = 1")
    page.get_by_label("Prompt").fill(typed)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_selector("#cards .cards:not([data-old])")
    return page.locator(".given").first.text_content()


def test_every_model_answers_and_shows_the_likeliest_tokens(visit, handlers, smoke):
    page, items = visit(), handlers.pools[smoke.folder.name].items
    item = next(item for item in items.values() if item.domain == "forget")
    assert ask(page, item.prompt) == item.prompt
    assert [card.get_attribute("data-model") for card in page.locator(".card").all()] == [
        "base",
        "maxent",
        "undo-0.5-maxent",
        "oracle",
    ]
    for card in page.locator(".card").all():
        assert card.locator("tr").count() == 6
        shares = [float(cell.removesuffix("\xa0%")) for cell in card.locator("td:last-child").all_text_contents()]
        assert shares == sorted(shares, reverse=True) and shares[0] > 0 and sum(shares) <= 100.1
        assert card.locator(".verdict").count() == 1
    assert f"Right answer: {item.answer.strip()}" in page.locator(".item").text_content()
    assert ask(page, "hello") == "hello" and page.locator(".verdict, .item").count() == 0


def test_an_attack_of_50_steps_draws_a_curve_that_grows_to_the_recorded_points(visit, smoke, slow):
    page, seen = visit(), set()
    attack(page, 50)
    while page.locator("[data-model=attacked]").count() == 0:
        seen.add(live_points(page))
        time.sleep(0.05)
    assert len(seen) >= 3 and live_points(page) == 20  # 0, the recorded 5 and 10, and every third step to 50
    lines = page.evaluate("document.querySelector('#curve .js-plotly-plot').data.map((t) => [t.name, t.x.length])")
    assert ["oracle, recorded", 3] in lines and lines[-1] == ["UNDO α 0.5, live", 20]
    assert page.locator("#progress").text_content().strip().startswith("Step 50 of 50")
    page.click("#numbers summary")
    rows = [row.locator("td").all_text_contents() for row in page.locator("#numbers tr").all()[1:]]
    drawn = {int(step): float(forget.removesuffix("\xa0%")) for step, _, forget, _ in rows}
    of_student = (curve for curve in smoke.results["curves"] if curve["model"] == "undo-0.5-maxent")
    recorded = next(
        c
        for c in of_student
        if c["skill"] == "forget" and c["variant"] == {"optimizer": "adamw", "learning_rate": 0.003}
    )
    assert {p["step"]: round(100 * p["forget"], 1) for p in recorded["points"]}.items() <= drawn.items()
    assert ask(page, "3+4=") == "3+4=" and page.locator(".card").count() == 5  # the attacked copy is asked again
    assert serious_findings(page) == []


def test_more_steps_than_the_published_adversary_takes_are_not_taken(visit, slow):
    page = visit()
    attack(page, 100_000)
    page.wait_for_function("document.querySelector('#progress').textContent.includes('of 500 ')")
    page.click("#stop")
    page.wait_for_selector("[data-model=attacked]")


def test_another_setting_brings_its_own_models_prompts_and_guide(visit, words):
    page = visit()
    assert "Equations that end in =" in page.locator("h2 + p").first.text_content()
    page.get_by_label("Setting").click()
    page.get_by_role("option", name=f"language ({words.name})").click()
    page.wait_for_selector("[data-model='undo-0.3-maxent']")
    assert "Forgotten: Japanese" in page.locator("h2 + p").first.text_content()
    picked = page.locator("button.gallery-item, button", has_text="keep: ").first
    picked.click()
    page.wait_for_function("!document.querySelector('.given').textContent.match(/[\\u3040-\\u30ff]/)")
    assert "nats per token" in page.locator(".verdict").first.text_content()
    attack(page, 10)
    page.wait_for_selector("[data-model=attacked]")
    assert live_points(page) == 11 and "Step 10 of 10" in page.locator("#progress").text_content()


def test_two_visitors_attack_at_once_and_a_third_is_answered(visit, slow):
    pages = visit(), visit()
    attack(pages[0], 500, "suppressed")
    attack(pages[1], 500, "oracle")
    for page in pages:
        page.wait_for_function("document.querySelector('#progress').textContent.includes('Step')")
    assert ask(visit(), "3+4=") == "3+4="
    going = [page.locator("#progress").text_content() for page in pages]
    assert "against the suppressed" in going[0] and "against the oracle" in going[1]
    for page in pages:
        page.click("#stop")
        page.wait_for_selector("[data-model=attacked]")
        assert "Stopped after step" in page.locator("#progress").text_content()


def test_a_page_loaded_anew_in_mid_attack_ends_the_attack_and_frees_the_copy(visit, handlers, slow):
    page = visit()
    attack(page, 500)
    page.wait_for_function("document.querySelector('#progress').textContent.includes('Step')")
    live = next(each.attacked for each in handlers.sessions._by_name.values() if each.running)
    copy = weakref.ref(live.model)
    page.reload()
    page.wait_for_selector(".card")
    assert eventually(lambda: live.stopped) and live.done < 500
    gc.collect()
    assert eventually(lambda: copy() is None)
    visit.said.clear()  # the page speaks of its own streams, which the reload cut
    assert page.locator("[data-model=attacked]").count() == 0 and ask(page, "3+4=") == "3+4="


def eventually(found, seconds: float = 20):
    """Waits until a function finds something."""
    until = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < until:
        time.sleep(0.1)
    assert value
    return value


HOSTILE = {
    "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>": None,
    "${window.hacked=1}{{constructor.constructor('window.hacked=1')()}}#{1}{% raw %}": None,
    "</bdi></p></li><style>*{display:none}</style>&lt;b&gt;": None,
    "<|end|><|pad|>": None,
    "\u202e321=+1": None,
    "": None,
    "1+\x00\x1b[31m\x7f\x9b2=": "1+[31m2=",
}


def test_hostile_prompts_are_text_and_nothing_else(visit):
    page = visit()
    for typed, shown in HOSTILE.items():
        given = ask(page, typed)  # of a long prompt, what fits the context
        assert given == (shown or typed) or (len(given) > 9 and typed.endswith(given))
    assert "control characters removed" in page.locator(".note").text_content()
    assert page.evaluate("window.hacked") is None
    ask(page, "9" * 50_000)
    assert "50,000 characters" in page.locator(".note").text_content()
    assert len(page.locator(".given").first.text_content()) < 100


def test_the_page_fits_a_phone_in_the_dark(visit):
    page = visit(viewport={"width": 390, "height": 800}, color_scheme="dark")
    attack(page, 10)
    page.wait_for_selector("[data-model=attacked]")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert serious_findings(page) == []

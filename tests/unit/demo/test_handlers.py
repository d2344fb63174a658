"""What a demo says and refuses, without a browser."""

import inspect
import socket
from pathlib import Path
from threading import Lock

import pytest

from tests.report_synthetic import as_losses, make_results, read
from undo.cli.demo import demo
from undo.data.dataset import Item
from undo.demo import prompts, serve, sessions, study_view
from undo.demo.curve import curve_figure, render_points, tell
from undo.demo.relearning import Relearning
from undo.spec.errors import UserError
from undo.spec.recipe import Optim
from undo.stages.pretrain import next_token_loss
from undo.study.rows import Point
from undo.train import FitJob


class Letters:
    """A tokenizer with a token per character and a context of 16 of them."""

    model_max_length = 16

    def __call__(self, texts, **options):
        assert options["split_special_tokens"]
        return {"input_ids": [[ord(char) for char in text] for text in texts]}

    def decode(self, ids, **_):
        return "".join(map(chr, ids))


@pytest.mark.parametrize(
    ("typed", "text", "told"),
    [
        ("3*4=", "3*4=", []),
        ("3\x00*\x1b4\x7f=\n", "3*4=\n", ["3 control characters removed."]),
        ("9" * 20, "9" * 7, ["Your text has 20 characters; the models read its last 7 tokens."]),
        ("", "", []),
    ],
)
def test_a_prompt_is_cleaned_and_cut_to_the_context(typed, text, told):
    prompt = prompts.read_prompt(Letters(), typed)
    assert (prompt.text, prompt.notes) == (text, told)
    assert len(prompt.ids) + 1 + prompts.new_tokens(Letters()) <= Letters.model_max_length


class Bytes(Letters):
    """A token per byte."""

    def __call__(self, texts, **options):
        return {"input_ids": [list(text.encode()) for text in texts]}

    def decode(self, ids, **_):
        return bytes(ids).decode(errors="replace")


def test_a_character_that_was_cut_in_two_is_left_out():
    prompt = prompts.read_prompt(Bytes(), "あいうえお")  # 15 bytes, of which 7 fit
    assert (prompt.text, len(prompt.ids)) == ("えお", 6)


def test_losses_are_drawn_as_far_as_the_attack_went():
    results = as_losses(make_results())
    for curve in results["curves"]:
        curve["points"][0] |= {"forget": 40.0}
    show = study_view.StudyView(Path("nowhere"), read(results))
    (attack, *_), lineup = show.attacks, show.lineup("rmu", "undo-0.6-rmu", 1)
    low, high = curve_figure(show, lineup, attack, 150, None).layout.yaxis.range
    assert low > 2.5 and 7 < high < 9
    shares = study_view.StudyView(Path("nowhere"), read(make_results()))
    assert curve_figure(shares, lineup, attack, 150, None).layout.yaxis.range == (-0.03, 1.03)


def test_by_default_nobody_else_reaches_the_page():
    assert inspect.signature(demo).parameters["host"].default in serve.LOOPBACK


def test_a_very_long_prompt_is_cut_before_it_is_tokenized():
    (note,) = prompts.read_prompt(Letters(), "7" * 50_000).notes
    assert "50,000 characters" in note


def test_prompts_to_pick_are_test_items_of_every_group_in_turn():
    items = [Item("valid", "forget", "mul", "1*1=", "1")]
    items += [Item("test", "forget", group, f"{i} {group} =", "1") for group in ("mul", "div") for i in range(3)]
    items += [Item("test", "retain", "verses", "", "In the beginning there was a very long sentence, and then another")]
    picked = prompts.suggestions(items)
    assert [text for domain, text in picked if domain == "forget"] == ["0 mul =", "0 div =", "1 mul =", "1 div ="]
    assert picked[-1] == ("retain", "In the beginning there was a very long")


def test_no_page_without_gradio_a_free_port_and_an_address(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="--port"):
        serve.check("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UserError, match="--host"):
        serve.check("300.0.0.1", 7860)
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"undo-llm\[demo\]"):
        serve.check("127.0.0.1", 7860)


def test_nothing_is_shown_without_a_study(tmp_path):
    with pytest.raises(UserError, match=r"results\.json"):
        study_view.open_study(tmp_path / "nowhere")


def test_a_live_attack_that_asks_its_own_skill_alone_is_told_and_drawn(tiny_model, batch):
    """A probe leaves the model as it is, so that nobody asks for what is kept: it stays where it was."""
    show = study_view.StudyView(Path("nowhere"), read(make_results()))
    job = FitJob(
        objective=next_token_loss,
        batch_at=lambda step: batch,
        optim=Optim(learning_rate=1e-3),
        steps=2,
        evaluate=lambda model: {"forget": 0.5},
        eval_steps={2},
    )
    before = Point(step=0, forget_tokens=0, forget=0.1, retain=0.8)
    live = Relearning(show.lineup("rmu", "undo-0.6-rmu", 1)[0], show.attacks[0], tiny_model, job, before, Lock())
    list(live.run(pause_s=1e9))
    assert [(point.forget, point.retain) for point in live.points] == [(0.1, 0.8), (0.5, 0.8)]
    assert "retain 80.0" in tell(show, live) and "80.0" in render_points(show, live)


class Copy:
    """Stands in for an attacked copy."""

    stopped = dropped = False

    def drop(self):
        self.dropped = True


def test_a_visitor_has_one_attack_at_a_time_and_one_copy():
    session, first, second = sessions.Session(), Copy(), Copy()
    with session.attacking(first):  # type: ignore[arg-type]
        assert session.running
        with pytest.raises(UserError, match="still running"), session.attacking(second):  # type: ignore[arg-type]
            pass
        session.stop()
    assert first.stopped and not first.dropped and not session.running
    with session.attacking(second):  # type: ignore[arg-type]
        assert first.dropped and not second.dropped


def test_the_visitor_unseen_for_longest_is_forgotten_with_the_copy():
    everybody, copy = sessions.Sessions(), Copy()
    with everybody.of("first").attacking(copy):  # type: ignore[arg-type]
        for name in range(sessions.MOST + 3):
            everybody.of(str(name))
        assert not copy.dropped and len(everybody) == sessions.MOST
    for name in range(sessions.MOST + 3):
        everybody.of(str(name))
    assert copy.dropped

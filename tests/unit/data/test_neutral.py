from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from undo.data.dataset import PromptAndAnswer
from undo.data.neutral import ciphered, deranged

answers = st.lists(st.sampled_from(["a", "A ", "b", "c", "d"]), max_size=30)


@given(answers=answers, data_seed=st.integers(0, 3))
def test_no_prompt_gets_an_answer_that_is_right_for_it(answers, data_seed):
    pairs = [PromptAndAnswer(f"{index // 2}?", answer) for index, answer in enumerate(answers)]
    right = {(pair.prompt, pair.answer.strip().lower()) for pair in pairs}
    swapped = deranged(pairs, data_seed)
    assert not right & {(pair.prompt, pair.answer.strip().lower()) for pair in swapped}


@given(answers=answers, data_seed=st.integers(0, 3))
def test_answers_stay_as_frequent_where_none_is_more_than_half(answers, data_seed):
    pairs = [PromptAndAnswer(f"{index}?", answer) for index, answer in enumerate(answers)]
    counts = Counter(answer.strip().lower() for answer in answers)
    swapped = deranged(pairs, data_seed)
    if not counts or 2 * max(counts.values()) <= len(pairs):
        assert Counter(pair.answer for pair in swapped) == Counter(answers)
        assert [pair.prompt for pair in swapped] == [pair.prompt for pair in pairs]


def test_draws_differ():
    pairs = [PromptAndAnswer(f"{n}?", str(n)) for n in range(20)]
    assert deranged(pairs, 0) != deranged(pairs, 1)


def test_a_cipher_that_changes_nothing_leaves_the_text_out():
    assert ciphered(["...", "12", "abc def"], ["...", "12", "abc def"], 0)[0].isdigit()
    assert ciphered(["..."], ["..."], 0) == []

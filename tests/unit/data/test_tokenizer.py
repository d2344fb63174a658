import pytest
from hypothesis import given
from hypothesis import strategies as st

from undo.data.datasets.arithmetic import Arithmetic
from undo.data.tokenizer import END, PAD, train_tokenizer

SPECIAL = (PAD, END)


@pytest.fixture(scope="module")
def tokenizer(corpus):
    return corpus.tokenizer


def test_every_digit_is_a_token_of_its_own(tokenizer):
    with_digits = [token for token in tokenizer.get_vocab() if any(c.isdigit() and c.isascii() for c in token)]
    assert sorted(with_digits) == list("0123456789")
    assert tokenizer.convert_ids_to_tokens(tokenizer("120+3=123")["input_ids"]) == list("120+3=123")


def test_any_text_round_trips(tokenizer):
    @given(st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: not any(s in text for s in SPECIAL)))
    def check(text):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text

    check()


@pytest.mark.parametrize("text", ["a , b .", "don 't", "  two  spaces ", "\n\t", "1 2", "héllo 日本語 🙂", "a\x00b"])
def test_spaces_and_other_scripts_round_trip(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_a_prompt_is_a_prefix_of_its_prompt_and_answer(tokenizer):
    """Otherwise exact match would ask for tokens that the prompt already holds, or for none of the answer's."""
    items = list(Arithmetic(name="arithmetic", test_items=300, valid_items=50).items())
    prompts = tokenizer([item.prompt for item in items])["input_ids"]
    texts = tokenizer([item.prompt + item.answer for item in items])["input_ids"]
    for item, prompt, text in zip(items, prompts, texts, strict=True):
        assert text[: len(prompt)] == prompt, item
        assert tokenizer.decode(text[len(prompt) :]) == item.answer


def test_nothing_is_added_to_a_text(tokenizer):
    assert tokenizer("")["input_ids"] == []
    assert tokenizer.eos_token_id not in tokenizer("1+1=2")["input_ids"]


def test_padding_and_end_differ(tokenizer):
    assert tokenizer.pad_token == PAD and tokenizer.eos_token == END
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_the_vocabulary_is_no_larger_than_asked():
    texts = ["some words and some more words"] * 20
    assert len(train_tokenizer(texts, vocab_size=262, row_tokens=8)) == 262
    assert len(train_tokenizer(texts, vocab_size=259, row_tokens=8)) == 259


def test_training_is_deterministic(tokenizer):
    texts = ["10+2=12", "Ann has 3 pens and gets 4 more: 7"] * 5
    first, second = (train_tokenizer(texts, 280, 8).backend_tokenizer.to_str() for _ in range(2))
    assert first == second

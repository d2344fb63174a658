"""A byte-level BPE tokenizer of our own, with single digits."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

PAD, END = "<|pad|>", "<|end|>"
NO_TOKEN = -1
"""What fills packed rows of a foreign tokenizer: it may have no padding token, or one that is the end token too."""


def train_tokenizer(texts: Iterable[str], vocab_size: int, row_tokens: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE in which every digit stays a token of its own; every string can be encoded.

    The end token also opens a text (as in GPT-2); the padding token is another one, so that ends are learnt.
    """
    tokenizer = Tokenizer(models.BPE())
    digits, byte_level = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[PAD, END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, bos_token=END, model_max_length=row_tokens
    )


def token_id(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    """The id of one token."""
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


def row_padding(tokenizer: PreTrainedTokenizerBase) -> int:
    """What fills the end of a stream's last row: our own padding token, which no text contains, or no token at all."""
    own = tokenizer.pad_token == PAD and tokenizer.pad_token_id != tokenizer.eos_token_id
    return token_id(tokenizer, PAD) if own else NO_TOKEN


def opening_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token before a text: the one that begins a text where there is one, otherwise the end of the text before."""
    found = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    assert isinstance(found, int)
    return found


def encode_texts(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """The texts' own tokens: what opens and ends them is added where they are used, alike for every tokenizer."""
    if not texts:
        return []  # transformers 5 cannot tokenize an empty list
    return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]  # type: ignore[return-value]


def same_opening(prompt: list[int], whole: list[int]) -> int:
    """Tokens that both open with: a prompt's last one may be another one before an answer, and is part of it then."""
    return next((i for i, pair in enumerate(zip(prompt, whole, strict=False)) if pair[0] != pair[1]), len(prompt))


@cache
def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder, read once per process."""
    return AutoTokenizer.from_pretrained(folder)

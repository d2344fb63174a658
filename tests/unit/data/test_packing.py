import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from undo.data.packing import pack

PAD = 0
documents_of = st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=8)


@given(documents=documents_of, row_tokens=st.integers(1, 9))
def test_every_token_stays_in_order_and_only_the_end_is_padded(documents, row_tokens):
    packed = pack(documents, row_tokens, PAD)
    tokens = [token for document in documents for token in document]
    flat = packed.reshape(-1).tolist()
    assert packed.dtype == np.int32 and packed.shape[1] == row_tokens
    assert flat[: len(tokens)] == tokens
    assert flat[len(tokens) :] == [PAD] * (len(flat) - len(tokens))
    assert len(flat) - len(tokens) < row_tokens, "a row of nothing but padding"


def test_a_document_goes_on_in_the_next_row():
    assert pack([[1, 2], [3, 4, 5]], 3, PAD).tolist() == [[1, 2, 3], [4, 5, 0]]


def test_full_rows_get_no_padding():
    assert pack([[1, 2], [3, 4]], 2, PAD).tolist() == [[1, 2], [3, 4]]


def test_documents_may_come_from_a_generator():
    assert pack(([token] for token in (1, 2, 3)), 2, PAD).tolist() == [[1, 2], [3, 0]]

"""Corpora to packed token arrays and batches."""

from undo.spec.lazy import lazy

__getattr__ = lazy(
    __name__,
    corpus="Corpus open_corpus write_corpus write_corpus_for",
    batches="Batch Labels RowStream TokenBatch adversary_batches domain_batches filtered_batches first_rows "
    "labelled_batches mixed_adversary_batches share_rows text_batches",
    outputs="TeacherOutputs write_outputs",
    tokenizer="encode_texts load_tokenizer opening_id row_padding same_opening train_tokenizer",
)

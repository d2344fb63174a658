"""The models of glassllm say the same as transformers as in their own package."""

import pytest
import torch

from undo.models import glass, load_model
from undo.models.pretrained import adopt, limits
from undo.spec.errors import UserError

TEXTS = {
    "en": "Alice was beginning to get very tired of sitting  by her sister on the bank,\nand of having nothing to do",
    "pt": "Não consultes dicionários. Casmurro não está aqui no sentido que eles lhe dão,\n mas no que lhe pôs o vulgo",
}
UNKNOWN = " 한 café"


@pytest.fixture(scope="module", params=TEXTS)
def both(request, tmp_path_factory):
    """The language, the folder, and the package's own model and tokenizer."""
    package = pytest.importorskip("glassllm", reason="pip install 'undo-llm[models]'")
    from glassllm.model import GlassLM
    from glassllm.tokenizer import Tokenizer

    weights = f"{package.__path__[0]}/weights/{request.param}"
    folder = tmp_path_factory.mktemp(request.param)
    glass.write_glass(request.param, folder)
    return request.param, folder, GlassLM.load(f"{weights}.npz"), Tokenizer.load(f"{weights}.tokenizer.json")


def test_logits_are_the_packages_own(both):
    language, folder, own, tokenizer = both
    ids = tokenizer.encode(TEXTS[language])[:128]
    with torch.no_grad():
        logits = load_model(folder).eval()(input_ids=torch.tensor([ids])).logits
    torch.testing.assert_close(logits.double(), torch.from_numpy(own(ids).data), rtol=0, atol=1e-4)


def test_ids_are_the_packages_own_and_texts_come_back(both):
    language, folder, _, own = both
    _, tokenizer = adopt(folder)
    for text in (TEXTS[language], TEXTS[language] + UNKNOWN, "\n\n  a", " "):
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == own.encode(text)
    ids = tokenizer(TEXTS[language], add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == TEXTS[language]


def test_special_tokens_and_limits_are_the_models(both):
    model, tokenizer = adopt(both[1])
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 2, 3)
    assert limits(both[1]) == (1024, 128) and sum(p.numel() for p in model.parameters()) == 852_608


def test_another_language_and_a_missing_package_are_one_line(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no 'enn'; did you mean 'en'"):
        glass.write_glass("enn", tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'undo-llm\[models\]'"):
        glass.write_glass("en", tmp_path)

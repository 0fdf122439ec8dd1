import numpy as np
import pytest

from data.retrieval.reranker import load_reranker, resolve_reranker
from testing.small_rerankers import reranker_folder


def test_scores_of_pairs_lie_between_0_and_1_and_are_the_same_in_any_batch(tmp_path):
    score = load_reranker(resolve_reranker(str(reranker_folder(tmp_path / "reranker"))))
    pairs = [("Who keeps the keys?", "The warden keeps the keys."), ("Who keeps the keys?", "A ferry sails at nine.")]
    together = score(pairs)
    assert together.dtype == np.float32 and together.shape == (2,) and ((together > 0) & (together < 1)).all()
    assert together[0] != together[1]
    np.testing.assert_allclose(together, [score([pair])[0] for pair in pairs], rtol=1e-5)


def test_what_is_no_cross_encoder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no folder \./nowhere: name a cross-encoder's folder"):
        resolve_reranker("./nowhere")
    with pytest.raises(ValueError, match=r"it needs config\.json"):
        resolve_reranker(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="cannot be loaded as a cross-encoder"):
        load_reranker(resolve_reranker(str(tmp_path)))

"""The pretrained model: the references against transformers."""

import numpy as np
import pytest

from course_utils import assets, pretrained
from course_utils.exercises.pretrained_weights import embed_tokens, sentence_embedding
from course_utils.exercises.transformer_forward import transformer_forward

SENTENCES = ["the dog chased the cat", "Unbelievable!", "A bank of the river, or a bank for money?"]


@pytest.fixture(scope="module")
def library():
    """TFBertModel's outputs for SENTENCES; the model itself is let go at once, for the memory."""
    import transformers

    transformers.logging.set_verbosity_error()
    folder = assets.find("minilm")
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(
        SENTENCES, padding=True, return_tensors="tf"
    )
    model = transformers.TFAutoModel.from_pretrained(folder)
    return tokens, model(**tokens, output_hidden_states=True, output_attentions=True)


@pytest.fixture(scope="module")
def minilm():
    return pretrained.load_minilm()


def hidden_states(minilm, layers: int):
    token_ids, mask = minilm.tokenize(SENTENCES)
    sizes = (layers, minilm.key_size, minilm.value_size, minilm.num_heads)
    embedded = embed_tokens(token_ids, minilm.embeddings)
    return transformer_forward(
        embedded, *sizes, 0.1, weights=minilm.blocks, mask=mask[:, None, None, :]
    ), mask


def test_tokens_equal_the_librarys(minilm, library):
    token_ids, mask = minilm.tokenize(SENTENCES)
    np.testing.assert_array_equal(token_ids, library[0]["input_ids"])
    np.testing.assert_array_equal(mask, library[0]["attention_mask"] == 1)
    assert not mask.numpy().all(), "without padding this file tests no mask"


@pytest.mark.parametrize("layers", range(pretrained.NUM_LAYERS + 1))
def test_hidden_states_equal_the_librarys(minilm, library, layers):
    ours, mask = hidden_states(minilm, layers)
    theirs = library[1].hidden_states[layers]
    np.testing.assert_allclose(ours.numpy()[mask], theirs.numpy()[mask], rtol=0, atol=1e-4)


def test_attention_maps_equal_the_librarys(minilm, library):
    longest = 2
    theirs = np.stack([layer[longest] for layer in library[1].attentions])
    np.testing.assert_allclose(minilm.attention_maps(SENTENCES[longest]), theirs, rtol=0, atol=1e-4)


def test_padding_changes_no_sentence_embedding(minilm):
    together = sentence_embedding(*hidden_states(minilm, pretrained.NUM_LAYERS))
    token_ids, mask = minilm.tokenize(SENTENCES[:1])
    sizes = (pretrained.NUM_LAYERS, minilm.key_size, minilm.value_size, minilm.num_heads)
    hidden = transformer_forward(
        embed_tokens(token_ids, minilm.embeddings), *sizes, 0.0, weights=minilm.blocks
    )
    alone = sentence_embedding(hidden, mask)
    np.testing.assert_allclose(together[:1], alone, rtol=0, atol=1e-5)


def test_tokenization_frames_pads_and_cuts(minilm):
    token_ids, mask = minilm.tokenize(["dog", "dog " * 600])
    assert token_ids.shape == mask.shape == (2, 512)
    assert minilm.tokens("dog") == ["[CLS]", "dog", "[SEP]"]
    assert token_ids[0, :4].numpy().tolist() == [101, 3899, 102, 0]
    assert token_ids[1, -1] == 102
    assert mask.numpy().sum(axis=1).tolist() == [3, 512]


def test_the_model_is_read_once_in_a_process(minilm):
    assert pretrained.load_minilm() is minilm

import pytest
import torch

from blemish.backbones.layouts import load_parts
from blemish.backbones.prompts import Reader
from blemish.errors import ConfigError
from tiny_backbones import LENGTH, WIDTH, write_ldm, write_stable

PROMPT = "a photo of a *"


@pytest.fixture(scope="module", params=[write_ldm, write_stable], ids=["bert", "clip"])
def parts(request, tmp_path_factory):
    return load_parts(request.param(tmp_path_factory.mktemp("prompts")))


@pytest.fixture
def reader(parts):
    return Reader(parts.encoder, parts.tokenizer)


def plain(parts, text: str) -> torch.Tensor:
    """Return what the text encoder makes of an ordinary prompt, without any of our code."""
    words = parts.tokenizer(text, padding="max_length", max_length=LENGTH, return_tensors="pt")
    found = words.input_ids[:, :LENGTH]
    return parts.encoder(found, return_dict=True).last_hidden_state


def repeated(reader: Reader, word: str, size: int) -> torch.Tensor:
    return reader.word(word).expand(1, size, -1)


def test_learned_tokens_that_are_words_are_read_as_these_words(reader, parts):
    context = reader.read(repeated(reader, "rust", 2), 1, "the photo of * on a surface")
    assert torch.equal(context.tokens, plain(parts, "the photo of rust rust on a surface"))
    assert context.learned == slice(4, 6)


def test_no_tokens_are_read_as_the_empty_prompt(reader, parts):
    context = reader.read(None, 2, PROMPT)
    assert torch.equal(context.tokens, plain(parts, "").expand(2, -1, -1))
    assert context.learned == slice(0, 0)


def test_what_the_learned_tokens_push_over_the_end_is_cut_off(reader, parts):
    tail = " ".join(["surface"] * (LENGTH - 6))
    context = reader.read(repeated(reader, "rust", 4), 1, f"a photo of * with {tail}")
    whole = ["a photo of rust rust rust rust with", *["surface"] * (LENGTH - 9)]
    pieces = parts.tokenizer(" ".join(whole)).input_ids[:LENGTH]
    assert len(pieces) == LENGTH
    assert pieces[-1] == parts.tokenizer("surface").input_ids[1]
    expected = parts.encoder(torch.tensor([pieces]), return_dict=True).last_hidden_state
    assert torch.equal(context.tokens, expected)


def test_tokens_may_fill_the_encoder_and_not_more(reader):
    room = LENGTH - 5
    assert reader.read(torch.zeros(1, room, WIDTH), 1, PROMPT).learned == slice(5, LENGTH)
    with pytest.raises(ConfigError, match=f"{room + 1} learned tokens .* {LENGTH} positions"):
        reader.read(torch.zeros(1, room + 1, WIDTH), 1, PROMPT)


@pytest.mark.parametrize("prompt", ["a photo", "a * of a *"])
def test_a_prompt_without_one_placeholder_is_refused(reader, prompt):
    with pytest.raises(ConfigError, match="placeholders, expected one"):
        reader.read(torch.zeros(1, 1, WIDTH), 1, prompt)


def test_a_word_of_the_vocabulary_is_its_row_of_the_table(reader, parts):
    (row,) = parts.tokenizer("rust", add_special_tokens=False).input_ids
    assert torch.equal(reader.word("rust"), parts.encoder.get_input_embeddings().weight[row])


def test_several_words_start_from_their_mean(reader):
    expected = (reader.word("rust") + reader.word("surface")) / 2
    torch.testing.assert_close(reader.word("rust surface"), expected)


def test_no_word_is_refused(reader):
    with pytest.raises(ConfigError, match="no word"):
        reader.word("  ")


def test_reading_learned_tokens_leaves_the_encoder_as_it_was(reader, parts):
    before = plain(parts, "a photo")
    reader.read(torch.randn(2, 3, WIDTH, generator=torch.Generator().manual_seed(0)), 2, PROMPT)
    with pytest.raises(RuntimeError):
        reader.read(torch.zeros(1, 3, WIDTH + 1), 1, PROMPT)
    assert torch.equal(plain(parts, "a photo"), before)

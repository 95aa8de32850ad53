"""Prompts in which learned vectors stand among the words, read by a frozen text encoder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from blemish.backbones.protocol import PLACEHOLDER, Context
from blemish.errors import ConfigError


class Reader:
    """A tokenizer and a frozen text encoder.

    encoder: a model of transformers' kind; tokenizer: its tokenizer, which puts one mark before and
    one after the words. `width` is the width of its word vectors, `length` the number of its positions.
    """

    def __init__(self, encoder: Any, tokenizer: Any) -> None:
        self._encoder = encoder
        self._words: nn.Module = encoder.get_input_embeddings()
        self._tokenizer = tokenizer
        self._start, self._end = tokenizer("").input_ids
        self.length: int = encoder.config.max_position_embeddings
        self.width: int = encoder.get_input_embeddings().embedding_dim

    def word(self, text: str) -> Tensor:
        """Return the vector of a word, (width,) float32: the mean of its pieces where it has several.

        Raises:
            ConfigError: the text has no word in it.
        """
        pieces = self._pieces(text)
        if not pieces:
            raise ConfigError(f"{text!r} has no word in it", hint="give a word, such as scratch")
        return self._embed(pieces).float().mean(dim=(0, 1))

    def read(self, tokens: Tensor | None, count: int, prompt: str) -> Context:
        """Return the encoder's output for a prompt with learned tokens, or for no prompt at all.

        The word vectors, the learned tokens among them, go through the whole encoder. The tail is cut
        to `length` positions or filled with padding. tokens: (1 or count, N, width), or None.

        Raises:
            ConfigError: the prompt has not exactly one placeholder, or the tokens do not fit.
        """
        if tokens is None:
            pieces, learned = [self._start, self._end], slice(0, 0)
        else:
            pieces, learned = self._compose(prompt, tokens.shape[1])
        padding = [self._tokenizer.pad_token_id] * self.length
        vectors = self._embed((pieces + padding)[: self.length])
        if tokens is not None:
            rows = vectors.expand(len(tokens), -1, -1)
            parts = rows[:, : learned.start], tokens.to(vectors), rows[:, learned.stop :]
            vectors = torch.cat(parts, dim=1)
        return Context(self._encode(vectors).expand(count, -1, -1), learned)

    def _compose(self, prompt: str, size: int) -> tuple[list[int], slice]:
        """Return the pieces of a prompt with room for the learned tokens, and where that room is."""
        before, *others = prompt.split(PLACEHOLDER)
        if len(others) != 1:
            raise ConfigError(
                f"the prompt {prompt!r} has {len(others)} placeholders, expected one {PLACEHOLDER}",
                hint=f'write the learned defect as {PLACEHOLDER}, as in "a photo of a {PLACEHOLDER}"',
            )
        pieces = [self._start, *self._pieces(before)]
        learned = slice(len(pieces), len(pieces) + size)
        if learned.stop > self.length:
            raise ConfigError(
                f"{size} learned tokens at position {learned.start} do not fit into the "
                f"{self.length} positions of the text encoder",
                hint="learn fewer tokens, or use a shorter prompt",
            )
        return pieces + [self._end] * size + self._pieces(others[0]) + [self._end], learned

    def _pieces(self, text: str) -> list[int]:
        found: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return found

    def _embed(self, pieces: list[int]) -> Tensor:
        device = next(self._words.parameters()).device
        vectors: Tensor = self._words(torch.tensor([pieces], device=device))
        return vectors

    def _encode(self, vectors: Tensor) -> Tensor:
        # Not every text encoder takes vectors for words, but each looks its words up in one place.
        unread = torch.zeros(vectors.shape[:2], dtype=torch.int64, device=vectors.device)
        with _looked_up(self._words, vectors):
            found: Tensor = self._encoder(unread, return_dict=True).last_hidden_state
        return found


@contextlib.contextmanager
def _looked_up(words: nn.Module, vectors: Tensor) -> Iterator[None]:
    """Let a table of word vectors answer with these vectors, whatever it is asked."""
    handle = words.register_forward_hook(lambda *_: vectors)
    try:
        yield
    finally:
        handle.remove()

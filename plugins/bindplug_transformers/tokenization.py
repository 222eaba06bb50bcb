"""CLIP's tokenizer in transformers' form, giving the ids that bindplug's gives."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from transformers import BatchEncoding, PreTrainedTokenizer

from bindplug.errors import InputError
from bindplug.inputs import CONTEXT_LENGTH, END, START, VOCABULARY_SIZE, Tokenizer, vocabulary
from bindplug_transformers.configuration import END_ID, START_ID
from bindplug_transformers.saved_directory import SavedSettings

START_TOKEN, END_TOKEN = "<|startoftext|>", "<|endoftext|>"
"""The two marks as transformers' CLIPTokenizer writes them."""


class ImageBindTokenizer(SavedSettings, PreTrainedTokenizer):
    """Texts to CLIP's token ids: ``tokenizer(["a dog"], padding=True, return_tensors="pt")``.

    Ids up to the end mark equal those of :class:`bindplug.inputs.text.Tokenizer`. Padding repeats the end mark,
    as transformers' CLIPTokenizer does, where bindplug's pads with 0; no embedding depends on it. Texts longer
    than 77 tokens are cut, the end mark kept, unless ``truncation=False``. The vocabulary is CLIP's and comes
    with bindplug, so a saved tokenizer is its settings alone.

    Args:
        model_max_length: tokens in a row at most, both marks included.
        bos_token, eos_token, unk_token, pad_token: the marks; they stay CLIP's.
        kwargs: what every transformers tokenizer takes.
    """

    vocab_files_names = {}  # noqa: RUF012 - as its base declares it
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012 - as its base declares it

    def __init__(
        self,
        model_max_length: int = CONTEXT_LENGTH,
        bos_token: Any = START_TOKEN,
        eos_token: Any = END_TOKEN,
        unk_token: Any = END_TOKEN,
        pad_token: Any = END_TOKEN,
        **kwargs: Any,
    ) -> None:
        self._entries = [*vocabulary()[2][:START_ID], START_TOKEN, END_TOKEN]
        self._ids = {entry: index for index, entry in enumerate(self._entries)}
        super().__init__(
            model_max_length=model_max_length,
            bos_token=bos_token,
            eos_token=eos_token,
            unk_token=unk_token,
            pad_token=pad_token,
            **kwargs,
        )

    @property
    def vocab_size(self) -> int:
        """Number of tokens, 49408."""
        return VOCABULARY_SIZE

    def get_vocab(self) -> dict[str, int]:
        """Every token and its id, added ones included."""
        return {**self._ids, **self.added_tokens_encoder}

    def __call__(self, *args: Any, **kwargs: Any) -> BatchEncoding:
        """Token ids and attention mask, as every transformers tokenizer; ``truncation`` is on by default."""
        kwargs.setdefault("truncation", True)
        return super().__call__(*args, **kwargs)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Start mark, text, end mark.

        Raises:
            InputError: there is a second text: the network reads a row at its first end mark.
        """
        if token_ids_1 is not None:
            remedy = "Join the texts, or embed them as two rows."
            raise InputError(
                "ImageBindTokenizer", found="a pair of texts", expected="single texts", remedy=remedy
            )
        return [START_ID, *token_ids_0, END_ID]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Zeros, one a token."""
        return [0] * (len(token_ids_0) + 2)

    def get_special_tokens_mask(
        self,
        token_ids_0: list[int],
        token_ids_1: list[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 for marks, 0 for text."""
        if already_has_special_tokens:
            return [int(token in (START_ID, END_ID)) for token in token_ids_0]
        return [1, *([0] * len(token_ids_0)), 1]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """The text of tokens, in lower case."""
        text = self._tokenizer.decode(self._ids.get(token, END_ID) for token in tokens)
        return text.replace(START, START_TOKEN).replace(END, END_TOKEN).strip()

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Nothing is written: the vocabulary is CLIP's and comes with bindplug."""
        return ()

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer()

    def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
        return [self._entries[token] for token in self._tokenizer.encode(text)]

    def _convert_token_to_id(self, token: str) -> int:
        return self._ids.get(token, END_ID)

    def _convert_id_to_token(self, index: int) -> str:
        return self._entries[index]

"""CLIP's byte-pair tokenizer: sentences to 77 token ids.

Facts of the format, all of which the ids depend on: the vocabulary is 256 byte symbols, the same closing a
word, one entry for each merge, and two marks; merges are applied in the order in which they were learned.
"""

from __future__ import annotations

import gzip
import html
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from bindplug.errors import InputError
from bindplug.inputs.base import Preprocess, to_device
from bindplug.inputs.source import LONGEST_QUOTE
from bindplug.modality import Modality

CONTEXT_LENGTH = 77
VOCABULARY_SIZE = 49408
VOCABULARY_FILE = "data/bpe_simple_vocab_16e6.txt.gz"
"""Source: OpenAI's CLIP, MIT license, see ``data/LICENSE-clip.txt``."""
START = "<start_of_text>"
END = "<end_of_text>"
MERGES = VOCABULARY_SIZE - 2 * 256 - 2
WORD_END = "</w>"
PIECES = rf"{START}|{END}|'s|'t|'re|'ve|'m|'ll|'d|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+"
REMEMBERED_WORDS = 1 << 16


class Tokenizer:
    """Texts to token ids, as CLIP and ImageBind expect them: ``tokenizer(["a dog"]) -> (1, 77)``.

    Attributes:
        context_length: ids in a row, 77 by default.
        start_id: the id that begins every row.
        end_id: the id that closes the text; zeros follow.
    """

    def __init__(self, context_length: int = CONTEXT_LENGTH) -> None:
        if context_length < 2:
            raise ValueError(f"context_length={context_length}; expected room for the two marks")
        self.context_length = context_length
        self.vocab_size = VOCABULARY_SIZE
        self.start_id, self.end_id = VOCABULARY_SIZE - 2, VOCABULARY_SIZE - 1

    def __call__(
        self, texts: str | Sequence[str], context_length: int | None = None, *, truncate: bool = True
    ) -> Tensor:
        """Token ids of ``texts``, (B, 77) int64: start mark, text, end mark, zeros.

        Args:
            texts: one text or several.
            context_length: overrides the tokenizer's.
            truncate: whether a longer text is cut, the end mark kept last, or refused.

        Raises:
            InputError: a text is not a string, or is too long and ``truncate`` is off.
        """
        sentences = [texts] if isinstance(texts, str) else list(texts)
        length = context_length or self.context_length
        rows = torch.zeros(len(sentences), length, dtype=torch.long)
        for row, text in zip(rows, sentences, strict=True):
            ids = [self.start_id, *self.encode(text), self.end_id]
            if len(ids) > length:
                if not truncate:
                    problem = f"a text of {len(ids)} tokens, its two marks included"
                    remedy = "Shorten it, or let it be cut with truncate=True."
                    raise InputError(_quote(text), found=problem, expected=f"at most {length}", remedy=remedy)
                ids = [*ids[: length - 1], self.end_id]
            row[: len(ids)] = torch.tensor(ids)
        return rows

    def encode(self, text: str) -> list[int]:
        """Ids of one text of any length, without marks.

        Raises:
            InputError: ``text`` is not a string, or holds half a surrogate pair.
        """
        if not isinstance(text, str):
            raise InputError(
                _quote(text), found=f"an object of type {type(text).__name__}", expected="a string"
            )
        try:
            text.encode()
        except UnicodeEncodeError:
            expected = "text that UTF-8 can hold"
            raise InputError(_quote(text), found="half a surrogate pair", expected=expected) from None
        return [token for word in _pieces().findall(clean(text)) for token in _word_ids(word)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``, in lower case and with a space after each word; marks stay readable."""
        entries = vocabulary()[2]
        alphabet = {symbol: byte for byte, symbol in enumerate(_byte_symbols())}
        data = bytearray()
        for token in ids:
            entry = entries[int(token)]
            data += bytes(alphabet[symbol] for symbol in entry.removesuffix(WORD_END))
            data += b" " if entry.endswith(WORD_END) else b""
        return data.decode("utf-8", "replace")


class TextPreprocess(Preprocess):
    """Strings to token ids: (77,) int64 for a string, (B, 77) for a list of strings.

    Args:
        truncate: whether a text over 77 tokens is cut, as CLIP's other loaders do, or refused.
    """

    modality: ClassVar[Modality] = Modality.TEXT

    def __init__(self, *, truncate: bool = True) -> None:
        self.truncate, self.tokenizer = truncate, Tokenizer()

    def __call__(self, source: object, **options: Any) -> Tensor:
        """Token ids, (77,) of one text or (B, 77) of a list or tuple of them; see :meth:`read`."""
        if isinstance(source, (list, tuple)):
            return torch.stack([self.read(text, **options) for text in source])
        return super().__call__(source, **options)

    def read(self, source: object, *, truncate: bool | None = None) -> Tensor:
        """Token ids of one text.

        Args:
            source: the text itself, never a path.
            truncate: overrides the constructor's.

        Raises:
            InputError: ``source`` is not a string, or is too long and ``truncate`` is off.
        """
        check_text(source)
        assert isinstance(source, str)
        return self.tokenizer(source, truncate=self.truncate if truncate is None else truncate)[0]

    def finish(self, readings: Sequence[Tensor], device: torch.device | str | None = None) -> list[Tensor]:
        """The ids, (77,) int64 on ``device``."""
        return [to_device(ids, device) for ids in readings]


def check_text(source: object) -> str:
    """The name of a text in messages, if it is one.

    Raises:
        InputError: ``source`` is not a string, or holds half a surrogate pair.
    """
    name = _quote(source)
    if not isinstance(source, str):
        problem = f"an object of type {type(source).__name__}"
        raise InputError(name, found=problem, expected="a string", remedy="Decode bytes first.")
    try:
        source.encode()
    except UnicodeEncodeError:
        raise InputError(name, found="half a surrogate pair", expected="text that UTF-8 can hold") from None
    return name


def clean(text: str) -> str:
    """``text`` with broken encodings mended, HTML entities resolved (twice), spaces single, lower case."""
    import ftfy  # takes tenths of a second, and is needed with the first text only

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split()).lower()


def word_tokens(text: str) -> list[tuple[str, tuple[int, ...]]]:
    """The words of a text, cleaned and in lower case, each with its token ids; punctuation is left out."""
    words = [piece for piece in _pieces().findall(clean(text)) if any(map(str.isalnum, piece))]
    return [(word, _word_ids(word)) for word in words]


def _quote(text: object) -> str:
    quote = repr(text)
    return f"the text {quote[:LONGEST_QUOTE]}…" if len(quote) > LONGEST_QUOTE else f"the text {quote}"


@lru_cache(maxsize=1)
def _pieces() -> Any:
    """The pattern that parts cleaned text into words, digits and punctuation."""
    import regex

    return regex.compile(PIECES, regex.IGNORECASE)


@lru_cache(maxsize=1)
def _byte_symbols() -> tuple[str, ...]:
    """The printable character that stands for each byte: itself where Latin-1 prints it, else from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    substitutes = iter(range(0x100, 0x200))
    return tuple(chr(byte if byte in printable else next(substitutes)) for byte in range(256))


@lru_cache(maxsize=1)
def vocabulary() -> tuple[dict[tuple[str, str], int], dict[str, int], list[str]]:
    """CLIP's vocabulary: the rank of each merge, the id of each of its 49408 entries, and the entries by id.

    Do not change what it returns: it is read once and shared.
    """
    archive = files("bindplug.inputs").joinpath(VOCABULARY_FILE).read_bytes()
    lines = gzip.decompress(archive).decode("utf-8").split("\n")[1 : MERGES + 1]
    pairs = [(left, right) for left, right in (line.split() for line in lines)]
    symbols = _byte_symbols()
    # Byte symbols are sentences as CLIP lists them: printable ones first, then the substitutes.
    alphabet = sorted(symbols)
    entries = [
        *alphabet,
        *(symbol + WORD_END for symbol in alphabet),
        *(left + right for left, right in pairs),
    ]
    entries += [START, END]
    ranks = {pair: rank for rank, pair in enumerate(pairs)}
    return ranks, {entry: index for index, entry in enumerate(entries)}, entries


@lru_cache(maxsize=REMEMBERED_WORDS)
def _word_ids(word: str) -> tuple[int, ...]:
    """Ids of one piece of cleaned text: neighbours are joined, the earliest-learned merge first."""
    ranks, ids, _ = vocabulary()
    if word in (START, END):
        return (ids[word],)
    symbols = _byte_symbols()
    parts = [symbols[byte] for byte in word.encode("utf-8")]
    parts[-1] += WORD_END
    while len(parts) > 1:
        pair = min(set(pairwise(parts)), key=lambda pair: ranks.get(pair, MERGES))
        if pair not in ranks:
            break
        parts = _join(parts, pair)
    return tuple(ids[part] for part in parts)


def _join(parts: list[str], pair: tuple[str, str]) -> list[str]:
    """``parts`` with each occurrence of ``pair`` made one, from the left."""
    symbols, place = [], 0
    while place < len(parts):
        step = 2 if tuple(parts[place : place + 2]) == pair else 1
        symbols.append("".join(parts[place : place + step]))
        place += step
    return symbols

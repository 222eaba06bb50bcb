"""A corpus: texts, and which of them are variants of one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bindplug.errors import InputError


@dataclass(frozen=True)
class Corpus:
    """N different texts.

    Attributes:
        name: what it is, for the card of a bridge fitted with it.
        texts: in a fixed order.
        groups: for each text, what it is a variant of ("a red car" and "a car" are of one group), so that
            variants are held out together; None where that is not known.
    """

    name: str
    texts: tuple[str, ...]
    groups: tuple[str, ...] | None = None

    @classmethod
    def of(cls, texts: Sequence[str], name: str = "texts") -> Corpus:
        """The different ones of some texts, in order, without groups.

        Raises:
            InputError: there are none, or something is no text.
        """
        if isinstance(texts, (str, bytes)) or not all(isinstance(text, str) for text in texts):
            raise InputError(name, found="items that are no text", expected="a sequence of texts")
        unique_texts = tuple(dict.fromkeys(stripped for text in texts if (stripped := text.strip())))
        if not unique_texts:
            raise InputError(name, found="no texts", expected="a sequence of texts")
        return cls(name, unique_texts)

    def __len__(self) -> int:
        return len(self.texts)


def read_corpus(path: str | Path) -> Corpus:
    """The texts of a UTF-8 file, one a line; blank and repeated lines are left out.

    Raises:
        InputError: the file cannot be read, or holds no text.
    """
    path = Path(path).expanduser()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        raise InputError(str(path), found=detail, expected="a UTF-8 text file, one text a line") from None
    if not any(line.strip() for line in lines):
        raise InputError(str(path), found="no texts", expected="a UTF-8 text file, one text a line")
    return Corpus.of(lines, name=path.name)

"""Texts to fit bridges with: our own English corpus, or anyone's file."""

from __future__ import annotations

from bindplug.corpus.grammar import builtin_corpus
from bindplug.corpus.texts import Corpus, read_corpus

__all__ = ["Corpus", "builtin_corpus", "read_corpus"]

"""How the embedded default was made: `python -m recipes` makes it again."""

"""How the embedded default was made: `python -m bindplug_toyworld.recipes` makes it again."""

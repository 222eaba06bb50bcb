"""``python -m bindplug.cli``: the command line where no console script is installed."""

from bindplug.cli import main

main()

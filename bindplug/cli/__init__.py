"""The ``bindplug`` command line.

Exit codes: 0 done · 1 an error, told in one line · 2 wrong usage · 3 done, with inputs skipped · 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bindplug.errors import MissingDependency

NEEDED = ("click", "rich")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        arguments: what follows the program's name; that of this process by default.

    Raises:
        SystemExit: always, with one of the exit codes above.
    """
    try:
        import rich  # noqa: F401  (used on demand, asked for here so that its absence shows at once)

        from bindplug.cli.app import run
    except KeyboardInterrupt:  # while modules are imported; later ones are handled in run
        print("bindplug: interrupted", file=sys.stderr)
        sys.exit(130)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in NEEDED:
            raise
        print(f"bindplug: error: {MissingDependency('the command line', missing, 'cli')}", file=sys.stderr)
        sys.exit(1)
    sys.exit(run(arguments))

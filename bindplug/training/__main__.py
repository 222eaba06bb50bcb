"""``python -m bindplug.training ...`` is ``bindplug bind ...``, for ``accelerate launch -m bindplug.training ...``."""

from __future__ import annotations

import sys

from bindplug.cli import main

if __name__ == "__main__":
    main(["bind", *sys.argv[1:]])

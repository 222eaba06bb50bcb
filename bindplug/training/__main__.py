"""``python -m bindplug.training ...`` is ``bindplug bind ...``, for ``accelerate launch -m bindplug.training ...``."""

from __future__ import annotations

import sys

import torch

from bindplug.cli import main

if __name__ == "__main__":
    try:
        main(["bind", *sys.argv[1:]])
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

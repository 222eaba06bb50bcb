"""What the recipes' commands have in common: options, a workspace, a log."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Run:
    """One run of a recipe.

    Attributes:
        workspace: directory of what is rendered and trained; a smoke run has its own.
        log: file that the run's messages are appended to.
        quiet: True shows no progress, None asks the environment.
    """

    workspace: Path
    log: Path
    quiet: bool | None


def shared_options(*, holds: str, output: str) -> argparse.ArgumentParser:
    """The options of every recipe, as a parent for the parser of one.

    Args:
        holds: what the workspace will hold and how large that is, for the help.
        output: what ``--output`` places, for the help.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--workspace", type=Path, default=Path("runs"), help=holds)
    parser.add_argument("--output", type=Path, help=f"where {output} (default: in the workspace)")
    parser.add_argument(
        "--smoke", action="store_true", help="walk through everything in a minute; learns nothing"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quiet", action="store_true")
    return parser


def begin(options: argparse.Namespace, log: str) -> Run:
    """Make the workspace, log to its file ``log``, and compute on as many threads as asked for."""
    workspace: Path = options.workspace / ("smoke" if options.smoke else "full")
    workspace.mkdir(parents=True, exist_ok=True)
    log_to(workspace / log, quiet=options.quiet)
    torch.set_num_threads(options.threads)
    return Run(workspace, workspace / log, True if options.quiet else None)


def log_to(path: Path, *, quiet: bool) -> None:
    """Append every message to the file at ``path``, with its time; unless ``quiet``, show it on stderr as well."""
    handlers: list[logging.Handler] = [logging.FileHandler(path)]
    if not quiet:
        handlers.append(logging.StreamHandler(sys.stderr))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers, force=True)

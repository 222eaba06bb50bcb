"""What commands of plugins are built from, so that every command is spelled and behaves alike."""

from __future__ import annotations

from bindplug.cli.engines import EmbedJob, EmbedSummary
from bindplug.cli.groups import SuggestingGroup
from bindplug.cli.journal import file_state, job_difference, part_of
from bindplug.cli.lists import expand
from bindplug.cli.messages import FAILED, INTERRUPTED, OK, SKIPPED, USAGE, report_notes, report_skipped, say
from bindplug.cli.options import (
    DEFAULT_MODEL,
    DtypeName,
    ModelChoice,
    device_option,
    dtype_help,
    ensure_new,
    model_options,
    on_error_option,
    output_options,
    overwrite_option,
    split_names,
)
from bindplug.cli.outputs import as_utf8, is_utf8, rows_schema, rows_table
from bindplug.cli.sources import (
    Source,
    SourceCommand,
    Sources,
    check_option_values,
    check_reader_options,
    folder_options,
    gather,
    parse_reader_options,
    reader_options,
    short_names,
    source_options,
)
from bindplug.cli.tables import console, heat, heat_table, print_json
from bindplug.cli.terms import gather_terms, parse_weights, term_options
from bindplug.cli.windows import check_windows, in_windows, window_options

__all__ = [
    "DEFAULT_MODEL",
    "FAILED",
    "INTERRUPTED",
    "OK",
    "SKIPPED",
    "USAGE",
    "DtypeName",
    "EmbedJob",
    "EmbedSummary",
    "ModelChoice",
    "Source",
    "SourceCommand",
    "Sources",
    "SuggestingGroup",
    "as_utf8",
    "check_option_values",
    "check_reader_options",
    "check_windows",
    "console",
    "device_option",
    "dtype_help",
    "ensure_new",
    "expand",
    "file_state",
    "folder_options",
    "gather",
    "gather_terms",
    "heat",
    "heat_table",
    "in_windows",
    "is_utf8",
    "job_difference",
    "model_options",
    "on_error_option",
    "output_options",
    "overwrite_option",
    "parse_reader_options",
    "parse_weights",
    "part_of",
    "print_json",
    "reader_options",
    "report_notes",
    "report_skipped",
    "rows_schema",
    "rows_table",
    "say",
    "short_names",
    "source_options",
    "split_names",
    "term_options",
    "window_options",
]

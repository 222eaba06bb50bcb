"""One query from a command line: sums, differences and weights in the order typed."""

import click
import pytest

from bindplug import audio, image, text
from bindplug.cli.building import SourceCommand, gather_terms, term_options
from bindplug.errors import InputError, NoDirection


def query_of(*arguments):
    """The sources and the query that a command with these arguments gets."""

    @click.command(cls=SourceCommand)
    @term_options
    def command(weights, **by_option):
        return gather_terms(by_option, weights)

    return command.main(list(map(str, arguments)), standalone_mode=False)


def test_sources_are_added_subtracted_and_weighed_in_the_order_typed(files):
    sources, query = query_of(
        "--minus-text", "rain", "--audio", files["audio"], "--text", "a dog", "--minus-image", files["image"],
        "--weights", "0.5,2", "--weights", "1,3",
    )  # fmt: skip
    expected = (
        -0.5 * text("rain") + 2 * audio(str(files["audio"])) + text("a dog") - 3 * image(str(files["image"]))
    )
    assert query == expected
    assert sources.modalities == ["text", "audio", "image"]


def test_the_same_source_twice_counts_twice():
    assert query_of("--text", "a", "--text", "a", "--text", "b")[1] == 2 * text("a") + text("b")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ([], click.UsageError, "nothing to look for"),
        (["--text", "a", "--minus-text", "a"], NoDirection, "cancel"),
        (["--text", "a", "--weights", "1,b"], click.BadParameter, "no list of numbers"),
        (["--text", "a", "--weights", "1,2"], click.BadParameter, "2 weights for 1 sources"),
        (["--text", "a", "--weights", "nan"], InputError, "finite weights"),
        (["--minus-audio", "none.wav"], InputError, "no such file"),
    ],
)
def test_what_makes_no_query_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        query_of(*arguments)

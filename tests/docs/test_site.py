"""What the site's hooks do to its pages."""

import pytest

from scripts.docs.cards import PLACE, on_page_markdown
from scripts.docs.offline import local

REMEDY = '<script src="https://unpkg.com/iframe-worker/shim"></script>'


def test_the_cards_stand_in_their_place_without_their_long_tables():
    page = on_page_markdown(f"# Cards\n\n{PLACE}\n\nEnd")
    assert "## imagebind_tiny" in page
    assert "## toy_detic" in page
    assert "\n# " not in page
    assert "promised" in page
    assert "·    ·" not in page
    assert page.endswith("End")


def test_other_pages_stay_as_they_are():
    assert on_page_markdown("# A page") == "# A page"


def test_the_worker_comes_with_the_page():
    page = local(f"<head>{REMEDY}</head>")
    assert "unpkg" not in page
    assert "window.Worker = class" in page


@pytest.mark.parametrize(
    "asks",
    ['<script src="https://a.example/x.js">', '<link rel="stylesheet" href="https://a.example/x.css">'],
)
def test_a_page_that_asks_other_servers_is_refused(asks):
    with pytest.raises(ValueError, match="asks another server"):
        local(asks)


def test_links_to_other_servers_are_no_questions_to_them():
    assert (
        local('<a href="https://arxiv.org/abs/2305.05665">') == '<a href="https://arxiv.org/abs/2305.05665">'
    )

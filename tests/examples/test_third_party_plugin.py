"""The example's package, laid out as pip would leave it, is found through its entry point and used."""

from __future__ import annotations

import os
import re

from tests.examples.conftest import EXAMPLES

PACKAGE = EXAMPLES / "third_party_plugin"


def test_the_package_is_found_and_used(run, tmp_path_factory):
    site = tmp_path_factory.mktemp("site")
    (site / "bindplug_stereo").symlink_to(PACKAGE / "bindplug_stereo")
    entry = re.search(r"\[project\.entry-points\.bindplug\]\n(.*)", (PACKAGE / "pyproject.toml").read_text())[
        1
    ]
    info = site / "bindplug_stereo-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bindplug-stereo\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[bindplug]\n{entry}\n".replace('"', ""))
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    lines = run("third_party_plugin/use_it.py", PYTHONPATH=path)
    assert lines[0] == "stereo 0.1 of bindplug-stereo: ready, inputs:stereo_disparity"
    assert re.fullmatch(r" *\d+\.\d%  bird", lines[2])

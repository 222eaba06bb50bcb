"""``bindplug index`` and ``bindplug search`` over files of the toy world, with the bundled model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bindplug.examples
from tests.search.content import write_sound

ROOT = Path(__file__).parents[2]
EXAMPLES = Path(bindplug.examples.__file__).parent
PATTERNS = ("--audio", "*.wav", "--image", "*.png", "--depth", "*_depth.png")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder of the four example files, and an index of them."""
    from bindplug.cli.app import run

    directory = tmp_path_factory.mktemp("desk")
    library = directory / "library"
    library.mkdir()
    for path in [*EXAMPLES.glob("*.wav"), *EXAMPLES.glob("*.png")]:
        (library / path.name).write_bytes(path.read_bytes())
    (directory / "meta.csv").write_text("path,place\nlibrary/meadow.png,garden\nlibrary/bark.wav,garden\n")
    arguments = ["index", "add", str(directory / "library.lance"), str(library), *PATTERNS]
    assert run([*arguments, "--meta", str(directory / "meta.csv"), "--set", "year=2024", "-q"]) == 0
    return directory


@pytest.fixture
def at_desk(desk, monkeypatch):
    monkeypatch.chdir(desk)
    return desk


def names(ran):
    return [Path(result["path"]).name for result in ran.json["results"]]


def test_a_sound_finds_its_picture_and_a_picture_its_sound(bindplug, at_desk):
    ran = bindplug(
        "search", "library.lance", "--audio", "library/bark.wav", "--kind", "image", "--json", "-q"
    )
    assert (ran.code, names(ran)) == (0, ["meadow.png"])
    ran = bindplug(
        "search", "library.lance", "--image", "library/meadow.png", "--kind", "audio", "--json", "-q"
    )
    assert names(ran)[0] == "bark.wav"
    assert ran.json["results"][0]["metadata"] == {"place": "garden", "year": 2024.0}


def test_a_sum_less_a_sentence(bindplug, at_desk):
    source = ("search", "library.lance", "--json", "-q", "--no-recenter")
    whole = bindplug(
        *source,
        "--audio",
        "library/bark.wav",
        "--text",
        "a dog",
        "--minus-text",
        "rain",
        "--weights",
        "1,0.5,2",
    )
    assert whole.json["query"] == "audio('library/bark.wav') + 0.5 * text('a dog') - 2 * text('rain')"
    assert len(names(whole)) == 4
    plain = bindplug(*source, "--audio", "library/bark.wav")
    assert [r["score"] for r in plain.json["results"]] != [r["score"] for r in whole.json["results"]]
    assert bindplug(*source, "--minus-audio", "library/bark.wav").json["results"][-1][
        "score"
    ] == pytest.approx(-1, abs=1e-4)


def test_recentering_is_on_for_sums(bindplug, at_desk):
    terms = (
        "search",
        "library.lance",
        "--image",
        "library/meadow.png",
        "--audio",
        "library/bell.wav",
        "--json",
        "-q",
    )
    scores = {
        option: [r["score"] for r in bindplug(*terms, *option).json["results"]]
        for option in ((), ("--recenter",), ("--no-recenter",))
    }
    assert scores[()] == scores["--recenter",] != scores["--no-recenter",]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("place=garden", {"meadow.png", "bark.wav"}),
        ("year >= 2024", {"meadow.png", "bark.wav", "bell.wav", "train_depth.png"}),
        ("year<2024", set()),
        ("place == garden", {"meadow.png", "bark.wav"}),
        ("place=x' OR '1'='1", set()),
    ],
)
def test_conditions(bindplug, at_desk, where, expected):
    ran = bindplug("search", "library.lance", "--text", "a dog", "--where", where, "--json", "-q")
    assert set(names(ran)) == expected


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "library.lance"], 2, "nothing to look for"),
        (["search", "library.lance", "--text", "a", "--minus-text", "a"], 1, "cancel"),
        (["search", "library.lance", "--text", "a", "--weights", "1,2"], 2, "2 weights for 1 sources"),
        (["search", "library.lance", "--audio", "none.wav"], 1, "no such file"),
        (["search", "library.lance", "--text", "a", "--where", "place"], 1, "and a value, as place=garden"),
        (["search", "library.lance", "--text", "a", "--where", "color=red"], 1, "expected one of '"),
        (["search", "library.lance", "--text", "a", "--where", "place=>garden"], 1, "'place=>garden'; expected key"),
        (["search", "none.lance", "--text", "a"], 1, "bindplug index add none.lance"),
        (["search", "library", "--text", "a"], 1, "bindplug index adopt"),
        (["search", "library.lance", "--text", "a", "--page", "library/meadow.png"], 1, "as results.html"),
        (["index", "add", "library.lance", "library"], 2, "--image '*.jpg'"),
        (["index", "add", "library.lance", "nowhere", "--image", "*"], 1, "a folder of files"),
        (["index", "add", "library.lance"], 2, "nothing to read"),
        (["index", "add", "library.foo", "library", "--image", "*.png"], 1, "that of an index: .lance"),
        (["index", "add", "library.lance", "library", "--image", "*.png", "--set", "a"], 1, "key=value"),
        (["index", "add", "library.lance", "library", "--audio", "*.wav", "--hop", "1"], 2, "--hop needs --windows"),
        (["index", "add", "l.lance", "library", "--depth", "*h.png", "-O", "depth.nope=1"], 2, "nope"),
        (["index", "export", "library.lance", "-o", "library/meadow.png"], 1, "--overwrite"),
        (["index", "exprot"], 2, "Did you mean export"),
    ],
)  # fmt: skip
def test_what_is_refused(bindplug, at_desk, arguments, code, message):
    before = sorted(path.name for path in at_desk.iterdir())
    ran = bindplug(*arguments)
    assert (ran.code, message in ran.err.replace("\n", " ")) == (code, True), ran.err
    assert sorted(path.name for path in at_desk.iterdir()) == before


def test_info_and_update(bindplug, at_desk):
    info = bindplug("index", "info", "library.lance", "--json").json
    assert (info["rows"], info["kinds"]) == (4, {"audio": 2, "depth": 1, "image": 1})
    assert (info["model"], info["details"]["search"]) == ("imagebind_tiny", "exact")
    assert "library.lance" in bindplug("index", "info", "library.lance").out
    assert bindplug("index", "optimize", "library.lance", "--json").json["search"] == "exact"
    report = bindplug("index", "update", "library.lance", "--json").json
    assert (report["unchanged"], report["rows"], report["skipped"]) == (4, 0, [])
    again = bindplug("index", "add", "library.lance", "library", *PATTERNS)
    assert "4 unchanged (0 rows written)" in again.err


def test_files_named_one_by_one_windows_and_lists(bindplug, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_sound(tmp_path / "long.wav", 5.0)
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    (tmp_path / "list.txt").write_text("text\ta dog\ntext\ta cat\n")
    files = ("--audio", "long.wav", "--audio", "bad.wav", "--from-list", "list.txt")
    options = ("--windows", "2", "--hop", "1", "--on-error", "skip", "--json")
    ran = bindplug("index", "add", "my index.lance", *files, *options)
    assert (ran.code, ran.json["added"], ran.json["rows"]) == (3, 3, 6)
    assert [Path(skip["source"]).name for skip in ran.json["skipped"]] == ["bad.wav"]
    ran = bindplug(
        "search",
        "my index.lance",
        "--audio",
        "long.wav",
        "-O",
        "audio.start=1",
        "-O",
        "audio.end=3",
        "--json",
    )
    assert ran.json["results"][0]["span"] == [1.0, 3.0]
    assert len(ran.json["results"]) == 3
    ran = bindplug("search", "my index.lance", "--text", "a dog", "--all-windows")
    assert ran.out.count("long.wav") == 4
    assert "“a dog”" in ran.out


def test_a_page_and_pictures(bindplug, at_desk, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    page = tmp_path / "results.html"
    ran = bindplug(
        "search", "library.lance", "--audio", "library/bark.wav", "--page", page, "--pictures", "-q"
    )
    assert "▀" in ran.out
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 2
    assert text.count("<audio") == 2
    assert not opened
    ran = bindplug("search", "library.lance", "--text", "<b>a dog</b>", "--open", "--page", page)
    assert opened == [page.as_uri()]
    assert "<b>a dog" not in page.read_text(encoding="utf-8")
    assert "▀" not in ran.out  # stdout is no terminal


def test_exports(bindplug, at_desk, tmp_path):
    ran = bindplug("index", "export", "library.lance", "-o", tmp_path / "rows.npz", "--json")
    assert ran.json["rows"] == 4
    assert bindplug("index", "export", "library.lance", "-o", tmp_path / "rows.npz", "--overwrite").code == 0


def test_another_model_is_refused_with_the_command_for_a_bridge(bindplug, at_desk, model_directory):
    ran = bindplug("search", "library.lance", "--text", "a dog", "--model", model_directory)
    assert ran.code == 1
    assert "bindplug bridge fit --source" in ran.err
    ran = bindplug("index", "add", "library.lance", "--text", "a new dog", "--model", model_directory)
    assert (ran.code, "SpaceMismatch" in ran.err or "space" in ran.err) == (1, True)


def test_a_real_process(at_desk):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"}
    command = [sys.executable, "-m", "bindplug.cli", "search", "library.lance", "--text", "a dog", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert len(json.loads(done.stdout)["results"]) == 4
    assert "lance::" not in done.stderr
    code = (
        "import bindplug_search, sys; assert not {'torch', 'lancedb', 'pyarrow', 'click'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)

import json
import threading
from http.server import HTTPServer

import pytest

from bindplug.cards import ModelCard
from bindplug.errors import CheckpointError, PluginError, WeightsNotFound
from bindplug.hub import fetch_weights, find_weights, home, places
from bindplug.testing import FAKE_SPACE


def card(**changes):
    return ModelCard(**{"name": "tiny", "modalities": ("text",), "space": FAKE_SPACE, "license": "CC-BY-NC-4.0",
                        "url": "http://127.0.0.1:9/tiny.pth", "size_bytes": 4_800_000_000, **changes})  # fmt: skip


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A machine of its own: no cache, no variable, a fresh working directory."""
    for variable in ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE", "BINDPLUG_OFFLINE", "HF_HUB_OFFLINE", "BINDPLUG_HOME",
                     "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):  # fmt: skip
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def place(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    return path


def test_home_follows_the_variable(machine, monkeypatch):
    assert home() == machine / "cache" / "bindplug"
    monkeypatch.setenv("BINDPLUG_HOME", "~/elsewhere")
    assert home().name == "elsewhere"
    assert "~" not in str(home())


@pytest.mark.parametrize(
    "where",
    ["cache/bindplug/tiny.pth", "work/.checkpoints/tiny.pth", "cache/torch/hub/checkpoints/tiny.pth",
     "cache/huggingface/hub/models--someone--tiny/snapshots/abc/tiny.pth"],
)  # fmt: skip
def test_weights_are_found_wherever_tools_put_them(machine, where):
    assert find_weights(card()) is None
    placed = place(machine / where)
    assert find_weights(card()).samefile(placed)
    assert fetch_weights(card()).samefile(placed)


def test_the_caches_own_variables_are_followed(machine, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(machine / "t"))
    monkeypatch.setenv("HF_HUB_CACHE", str(machine / "h"))
    hub = place(machine / "h" / "models--a--b" / "snapshots" / "c" / "tiny.pth")
    assert find_weights(card()) == hub
    torch_hub = place(machine / "t" / "hub" / "checkpoints" / "tiny.pth")
    assert find_weights(card()) == torch_hub


def test_a_converted_directory_comes_first(machine):
    place(home() / "tiny.pth")
    place(home() / "tiny" / "config.json")
    assert find_weights(card()) == home() / "tiny"


def test_a_changed_file_is_refused(machine):
    placed = place(home() / "tiny.pth")
    record = {"size_bytes": 3, "sha256": "00"}
    placed.with_name("tiny.pth.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="3"):
        fetch_weights(card())


def test_packaged_weights_are_found_without_importing_the_package(tmp_path, monkeypatch):
    (tmp_path / "acme_weights").mkdir()
    (tmp_path / "acme_weights" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    place(tmp_path / "acme_weights" / "data" / "tiny" / "config.json")
    monkeypatch.syspath_prepend(tmp_path)
    assert (
        fetch_weights(card(weights="acme_weights:data/tiny")) == tmp_path / "acme_weights" / "data" / "tiny"
    )
    for lacking in ("acme_weights:data/huge", "no_such_package:data"):
        with pytest.raises(PluginError, match="reinstall"):
            fetch_weights(card(weights=lacking))


@pytest.mark.parametrize("variable", ["BINDPLUG_OFFLINE", "HF_HUB_OFFLINE", None])
def test_offline_says_what_to_place_where(machine, monkeypatch, variable, capsys):
    if variable:
        monkeypatch.setenv(variable, "1")
    with pytest.raises(WeightsNotFound) as caught:
        fetch_weights(card())
    message = str(caught.value)
    for told in ("about 4.8 GB", "CC-BY-NC-4.0", "http://127.0.0.1:9/tiny.pth", str(home() / "tiny.pth"),
                 "BINDPLUG_HOME", "bindplug.load('path/to/tiny.pth')", variable or "127.0.0.1:9"):  # fmt: skip
        assert told in message
    assert all(str(each) in message for each in places(card()))
    assert isinstance(caught.value, FileNotFoundError)
    assert bool(capsys.readouterr().err) == (variable is None)


def test_size_and_license_are_stated_before_the_download(machine, capsys):
    from http.server import BaseHTTPRequestHandler

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"weights")

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    fetched = fetch_weights(card(url=f"http://127.0.0.1:{server.server_port}/tiny.pth", size_bytes=7))
    thread.join()
    server.server_close()
    assert fetched == home() / "tiny.pth"
    assert fetched.read_bytes() == b"weights"
    said = capsys.readouterr().err
    assert "about 7 bytes, license CC-BY-NC-4.0" in said
    assert str(home()) in said


def test_a_card_without_an_address_says_so(machine):
    with pytest.raises(WeightsNotFound, match="names no address"):
        fetch_weights(card(url="", loader="a:b"))

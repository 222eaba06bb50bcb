"""The page in a real browser: upload, record, search, detect, paint; what it asks of whom; keyboard and phone."""

from __future__ import annotations

import json
import re
import shutil
import signal
from types import SimpleNamespace

import httpx
import pytest

from tests.app.conftest import CAPTION, HOSTILE
from tests.command_process import serving

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this system")
PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def app(index_path, tmp_path_factory):
    """Address and directory of temporary files of one page for the module."""
    directory = tmp_path_factory.mktemp("temporary")
    with serving("app", str(index_path), TMPDIR=str(directory)) as (process, address):
        yield SimpleNamespace(process=process, address=address, directory=directory)
        process.send_signal(signal.SIGHUP)  # the terminal is closed
        assert process.wait(PATIENCE_MS / 1000) == 0
    left = [path.name for path in directory.iterdir() if path.name.startswith(("bindplug", "gradio"))]
    assert left == []


@pytest.fixture(scope="module")
def browser(files):
    microphone = files.queries["dog"]["audio"]
    flags = ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")
    arguments = [f"--{flag}" for flag in (*flags, f"use-file-for-audio-capture={microphone}", "no-sandbox")]
    with playwright_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, app):
    """Opens pages; each has asked nobody but the server, and had no error, when the test ends."""
    problems, contexts = [], []

    def open_one(width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(PATIENCE_MS)
        tab.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("dialog", lambda dialog: problems.append(f"a dialog: {dialog.message}"))
        tab.on("request", lambda r: problems.append(r.url) if not is_local(r.url, app.address) else None)
        tab.goto(app.address)
        tab.locator("#search").wait_for()
        return tab

    yield open_one
    for context in contexts:
        context.close()
    assert problems == []


def is_local(url, address):
    return url.startswith((f"{address}/", "data:", "blob:"))


def choose(tab, name, kind):
    tab.locator(f"#{name}-kind").get_by_label(kind, exact=True).check()


def tick(tab, kind):
    tab.locator("#kinds").get_by_role("checkbox", name=re.compile(rf"^{kind} \(")).check()


def upload(tab, name, kind, path):
    choose(tab, name, kind)
    part = "sound" if kind == "Sound" else "file"
    tab.locator(f"#{name}-{part} input[type=file]").set_input_files(str(path))
    if kind == "Sound":
        tab.locator(f"#{name}-sound").get_by_text("0:04").wait_for()
    else:
        tab.locator(f"#{name}-file").get_by_text(path.name).or_(
            tab.locator(f"#{name}-file").get_by_text(path.stem)
        ).first.wait_for()


def search(tab):
    """The text of the cards of a new search."""
    tab.evaluate("document.querySelectorAll('.bp-wall, .bp-error').forEach(e => e.dataset.old = 'yes')")
    tab.locator("#search").click()
    tab.locator(":is(.bp-wall, .bp-error):not([data-old])").first.wait_for()
    return tab.locator(".bp-card").all_inner_texts()


def test_a_sound_that_is_dropped_finds_every_kind(open_page, files):
    tab = open_page()
    upload(tab, "first", "Sound", files.queries["dog"]["audio"])
    cards = search(tab)
    assert len(cards) == 12
    assert "audio.wav" in cards[0]
    kinds = set(tab.locator(".bp-kind").all_inner_texts())
    assert {"Sound", "Picture", "Video", "Depth map", "Heat picture", "Words"} <= kinds
    player = tab.locator(".bp-audio audio").first
    assert (
        player.evaluate(
            "e => new Promise(done => { e.onloadedmetadata = () => done(e.duration); e.load(); })"
        )
        == 4
    )
    images = tab.locator(".bp-wall img")
    assert images.count() > 2
    assert all(image.get_attribute("alt") for image in images.all())


def test_files_cannot_bring_scripts_onto_the_page(open_page):
    tab = open_page()
    tab.locator("#first-words textarea").fill("a dog <img src=x onerror=alert(3)>")
    cards = " ".join(search(tab))
    assert HOSTILE in cards
    assert CAPTION in cards
    assert "<b>garden</b>" in cards
    assert tab.locator("img[src=x], .bp-wall script, .bp-wall b").count() == 0
    assert "onerror" in tab.locator(".bp-remarks").inner_text()


def test_a_second_source_is_weighed_and_can_lead_away(open_page, files):
    tab = open_page()
    tab.locator("#first-words textarea").fill("a train")
    tab.get_by_label("Add a second one").check()
    upload(tab, "second", "Depth map", files.queries["dog"]["depth"])
    tab.locator("#second-preview img").wait_for()
    tick(tab, "Picture")
    weight = tab.locator("#weight input[type=number]")
    weight.fill("-1.5")
    weight.blur()
    away = search(tab)
    weight.fill("2")
    weight.blur()
    toward = search(tab)
    assert len(away) == len(toward) == 3
    assert HOSTILE in toward[0]
    assert HOSTILE in away[-1]


def test_what_is_recorded_is_searched_for(open_page):
    tab = open_page()
    choose(tab, "first", "Sound")
    sound = tab.locator("#first-sound")
    sound.get_by_label("Record audio").click()
    sound.get_by_role("button", name="Record", exact=True).click()
    sound.get_by_text(re.compile("0:0[12]")).first.wait_for()
    sound.get_by_role("button", name="Stop").last.click()
    sound.get_by_text("1x").wait_for()
    tick(tab, "Sound")
    cards = search(tab)
    assert len(cards) == 3


def test_a_bad_file_is_told_on_the_page(open_page, tmp_path):
    tab = open_page()
    bad = tmp_path / "motion.csv"
    bad.write_text("no,motion\n1,2\n", encoding="utf-8")
    upload(tab, "first", "Motion log", bad)
    assert search(tab) == []
    message = tab.locator("#search-remarks .bp-error").inner_text()
    assert message.startswith("motion.csv: ")
    assert "expected" in message
    assert "Traceback" not in tab.content()


def test_it_is_found_in_a_picture_and_painted(open_page, files):
    tab = open_page()
    upload(tab, "first", "Sound", files.queries["dog"]["audio"])
    tab.get_by_role("tab", name="Find in a picture").click()
    tab.locator("#scene").get_by_label(re.compile("Remove|Clear")).first.click()
    tab.locator("#scene input[type=file]").set_input_files(str(files.street))
    tab.locator("#scene").get_by_text("street").first.wait_for()
    tab.locator("#detect").click()
    assert tab.locator("#detections img").get_attribute("alt") == "the picture with 1 box"
    tab.get_by_role("tab", name="Paint").click()
    tab.locator("#seed textarea, #seed input").first.fill("7")
    tab.locator("#paint").click()
    assert tab.locator("#painting img").get_attribute("alt") == "the picture that was painted, seed 7"


def test_a_phone_shows_all_of_it_in_the_dark(open_page):
    tab = open_page(width=360, color_scheme="dark")
    tab.get_by_role("button", name="“a red boat”").click()
    tab.locator(".bp-wall").wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    assert tab.get_by_role("tab").count() == 3
    red, green, blue = tab.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert red + green + blue < 150


def test_a_query_to_try_is_read_without_the_options_of_the_last_file(open_page):
    tab = open_page()
    choose(tab, "first", "Depth map")
    tab.get_by_text("How to read the file").first.click()
    tab.locator("#first-options :is(textarea, input)").fill("unit=mm")
    tab.get_by_role("button", name="Hear a dog").click()
    tab.locator(".bp-wall, .bp-error").first.wait_for()
    assert tab.locator(".bp-card").count() == 12


def test_it_works_by_keyboard_alone(open_page):
    tab = open_page()
    reached = []
    for _ in range(30):
        tab.keyboard.press("Tab")
        place = tab.evaluate(
            "document.activeElement.closest('[id]')?.id + ' ' + document.activeElement.tagName"
        )
        reached.append(place)
        if tab.evaluate("!!document.activeElement.closest('#first-words')"):
            tab.keyboard.type("a train")
            tab.keyboard.press("Enter")
            tab.locator(".bp-wall").wait_for()
        if tab.evaluate("document.activeElement.id == 'search'"):
            break
    assert tab.locator(".bp-card").count() == 12, reached
    assert tab.evaluate("document.activeElement.id") == "search", reached
    outline = tab.evaluate("(s => s.outlineStyle + s.boxShadow)(getComputedStyle(document.activeElement))")
    assert outline not in ("nonenone", "none")
    unnamed = tab.evaluate("""[...document.querySelectorAll("button, input, textarea, select, [role=tab]")]
      .filter(e => e.offsetParent && !e.labels?.length && !e.getAttribute("aria-label") && !e.title
        && !e.innerText.trim() && !e.closest("label")).map(e => e.outerHTML.slice(0, 120))""")
    assert unnamed == []


def test_two_people_at_once_see_their_own_results(open_page):
    tabs = [open_page(), open_page()]
    for tab, words in zip(tabs, ("a dog", "a train"), strict=True):
        tab.locator("#first-words textarea").fill(words)
        tick(tab, "Picture")
    for tab in tabs:
        tab.locator("#search").click()
    for tab in tabs:
        tab.locator(".bp-wall").wait_for()
    dog, train = (tab.locator(".bp-card").first.inner_text() for tab in tabs)
    assert HOSTILE in dog
    assert HOSTILE not in train


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=%2Fetc%2Fpasswd",
        "/gradio_api/file=../../etc/passwd",
        "/gradio_api/file=http://127.0.0.1:1/x",
        "/gradio_api/file=https://example.invalid/x",
        "/gradio_api/proxy=https://example.invalid/x",
        "/gradio_api/info",
        "/gradio_api/openapi.json",
        "/monitoring",
        "/media/../etc/passwd",
        "/docs",
    ],
)
def test_no_file_and_no_address_is_read_for_whoever_asks(app, path, files):
    with httpx.Client(base_url=app.address, verify=False) as client:
        answer = client.get(path)
        assert answer.status_code in (403, 404)
        assert b"root:" not in answer.content
        sound = files.library["dog"]["audio"]
        assert client.get(f"/gradio_api/file={sound}").status_code == 403


@pytest.mark.parametrize(
    "message",
    [
        {"data": [], "fn_index": 9999, "session_hash": "stranger"},
        {"data": [], "fn_index": -1, "session_hash": "stranger"},
        {"data": [1], "fn_index": 0, "session_hash": "", "batched": True},
        {"data": [], "fn_index": 0, "session_hash": None},
    ],
)
def test_a_message_to_what_the_page_does_not_have_is_refused(app, message):
    with httpx.Client(base_url=app.address, verify=False) as client:
        assert client.post("/gradio_api/queue/join", json=message).status_code == 400


def test_other_names_of_this_machine_and_large_uploads_are_refused(app):
    with httpx.Client(base_url=app.address, verify=False) as client:
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
        assert client.get("/", headers={"Origin": "https://evil.example"}).status_code == 403
        policy = client.get("/").headers["content-security-policy"]
        assert "default-src 'self'" in policy
        body = b"x" * (1 << 20)
        many = (body for _ in range(70))
        with pytest.raises(httpx.HTTPError):
            client.post(
                "/gradio_api/upload",
                content=many,
                headers={"Content-Type": "multipart/form-data; boundary=b"},
            ).raise_for_status()


@pytest.mark.parametrize("path", ["/etc/passwd", "http://127.0.0.1:1/x.png", "library"])
def test_a_path_in_place_of_an_upload_is_not_read(app, files, path):
    path = str(files.library["train"]["image"]) if path == "library" else path
    with httpx.Client(base_url=app.address, verify=False, timeout=120) as client:
        config = client.get("/config").json()
        names = {part["id"]: part["props"].get("elem_id") for part in config["components"]}
        search = next(d for d in config["dependencies"] if "results" in map(names.get, d["outputs"]))
        upload = {"path": path, "meta": {"_type": "gradio.FileData"}}
        data = ["Picture", "", None, upload, "", False, "Words", "", None, None, "", 1, [], 4]
        event = {"data": data, "fn_index": search["id"], "session_hash": "stranger"}
        assert client.post("/gradio_api/queue/join", json=event).status_code == 200
        with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": "stranger"}) as events:
            messages = [json.loads(line[5:]) for line in events.iter_lines() if line.startswith("data:")]
        answer = next(m for m in messages if m["msg"] == "process_completed")
        assert answer["success"] is False
        assert "/" not in (answer["output"].get("error") or "")

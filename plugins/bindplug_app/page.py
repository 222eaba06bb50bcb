"""The page: a query of one or two sources, and what to do with it."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import tempfile
from collections.abc import Callable, Collection, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.utils import get_upload_folder

from bindplug.errors import BindplugError
from bindplug_app.cards import Wall, error_markup, remarks_markup
from bindplug_app.finder import Finder
from bindplug_app.guards import PageGuard
from bindplug_app.media import Media
from bindplug_app.previews import KINDS, clean, picture_markup, preview
from bindplug_app.sources import file_leaf, kind_named, reader_options, seed_of, terms_of
from bindplug_app.starters import Starter, make_starters, make_street
from bindplug_app.theme import make_theme
from bindplug_app.words import detection_markup, empty_index_markup, intro_markup, tool_note
from bindplug_serve import HostGuard, check_size
from bindplug_toyworld import TOY_SPACE

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger("bindplug.app")

UPLOAD_BYTES = 64 << 20
"""Largest file that the page takes."""
FOLDER_BYTES = 2 << 30
"""Most bytes of uploads that are kept at once."""
SWEEP_S, KEEP_S = 300, 3600
"""How often uploads are swept, and how old they become, in seconds."""
WAITING, AT_ONCE = 64, 4
"""Requests that wait, and that are worked on at once."""
SHOW_RESULTS = """() => {
  if (innerWidth < 700) document.getElementById("search")?.scrollIntoView({ block: "start" });
}"""
"""On a phone the results are screens away from the query."""
FAILED = "Something went wrong in the page itself; the terminal that it was started in says what."
CSS = Path(__file__).with_name("page.css")
Source = tuple[gr.Radio, gr.Textbox, gr.Audio, gr.File, gr.Textbox, gr.HTML]


def create_page(
    finder: Finder,
    *,
    show_paths: bool = False,
    embeddable: bool | None = None,
    hosts: Collection[str] = (),
) -> gr.Blocks:
    """The page as a Gradio application: ``create_page(finder).launch()``.

    ``launch`` has the page's own settings as defaults: its style, the largest upload, addresses that are answered,
    and that nothing is asked of other servers.

    Args:
        finder: what searches, detects and paints.
        show_paths: whether results tell where a file is, beside its name.
        embeddable: whether other sites may show the page in a frame; by default on Hugging Face alone.
        hosts: names that the page answers to, any where there are none. Other names lead to an address of this
            machine only by a trick.
    """
    is_toy = finder.model.embedding_space.name == TOY_SPACE.name
    media = Media()
    wall = Wall(finder.model, media, show_paths=show_paths)
    uploads = Path(get_upload_folder())
    uploads.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="starters-", dir=uploads))

    async def build() -> gr.Blocks:
        with gr.Blocks(
            title="bindplug", analytics_enabled=False, delete_cache=(SWEEP_S, KEEP_S), fill_width=True
        ) as page:
            _lay_out(finder, wall, folder, is_toy)
        page.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE)
        return page

    page = _in_event_loop(build)
    in_space = bool(os.environ.get("SPACE_ID"))
    settings = _settings(media, in_space if embeddable is None else embeddable, hosts)
    setattr(page, "launch", functools.partial(page.launch, **settings))  # noqa: B010 (it is a method)
    return page


def _in_event_loop(build: Callable[[], Coroutine[Any, Any, gr.Blocks]]) -> gr.Blocks:
    """What a coroutine that never waits gives; without a loop around it Gradio makes many and closes none."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, build()).result()


def _settings(media: Media, embeddable: bool, hosts: Collection[str]) -> Mapping[str, Any]:
    from starlette.middleware import Middleware

    guards = [Middleware(HostGuard, hosts=hosts)] if hosts else []
    guards += [
        Middleware(
            PageGuard,
            upload_bytes=UPLOAD_BYTES,
            folder=Path(get_upload_folder()),
            folder_bytes=FOLDER_BYTES,
            embeddable=embeddable,
        )
    ]
    return {
        "theme": make_theme(),
        "css": CSS.read_text(encoding="utf-8"),
        "footer_links": [],
        "run_history": False,
        "max_file_size": UPLOAD_BYTES,
        "enable_monitoring": False,
        "ssr_mode": False,
        "share": False,
        "show_error": False,  # what Gradio says of a malformed request names places of this machine
        "app_kwargs": {"middleware": guards, "routes": [media.route()]},
    }


def _lay_out(finder: Finder, wall: Wall, folder: Path, is_toy: bool) -> None:
    starters = make_starters(folder) if is_toy else []
    gr.HTML(intro_markup(finder.info(), is_toy))
    with gr.Row(elem_classes="bp-main"):
        with gr.Column(scale=2, min_width=300, elem_classes="bp-query"):
            hint = (
                '<p class="bp-hint">Try one of these, or give something of your own:</p>' if starters else ""
            )
            gr.HTML(f"<h2>What are you looking for?</h2>{hint}")
            buttons = _starter_buttons(starters)
            first = _source(finder, "first", "Look for")
            second_switch = gr.Checkbox(label="Add a second one", elem_id="second-switch")
            with gr.Group(visible=False, elem_id="second-group") as second_group:
                second = _source(finder, "second", "Add")
                weight = gr.Slider(
                    -2, 2, 1, step=0.1, label="Weight of the second", elem_id="weight",
                    info="Below 0 leads away from it, 0 leaves it out.",
                )  # fmt: skip
        with gr.Column(scale=5, min_width=320), gr.Tabs(elem_id="actions"):
            with gr.Tab("Search", id="search"):
                searching = _search_tab(finder, wall)
            with gr.Tab("Find in a picture", id="detect"):
                detecting = _detect_tab(finder, make_street(folder) if is_toy else None)
            with gr.Tab("Paint", id="paint"):
                painting = _paint_tab(finder)
    second_switch.change(lambda on: gr.update(visible=bool(on)), second_switch, second_group, **_PLAIN)
    query = [*first[:5], second_switch, *second[:5], weight]
    search: Any = {
        "fn": _guarded(functools.partial(_search, finder, wall), 2),
        "inputs": [*query, *searching[1:3]],
        "outputs": searching[3:],
        "api_visibility": "private",
    }
    show: Any = {"fn": None, "js": SHOW_RESULTS, **_PLAIN}
    searching[0].click(**search).then(**show)
    first[1].submit(**search).then(**show)
    second[1].submit(**search).then(**show)
    for button, starter in zip(buttons, starters, strict=True):
        outputs = [*first[:4], second_switch, *second[:4], weight]
        fill = functools.partial(_filled, starter)
        button.click(fill, None, outputs, **_PLAIN).then(**search).then(**show)
    if detecting:
        detecting[0].click(
            _guarded(functools.partial(_detect, finder), 2),
            [*query, *detecting[1:3]],
            detecting[3:],
            **_PLAIN,
        )
    if painting:
        painting[0].click(
            _guarded(functools.partial(_paint, finder), 2), [*query, painting[1]], painting[2:], **_PLAIN
        )


_PLAIN: Any = {"api_visibility": "private"}


def _starter_buttons(starters: Sequence[Starter]) -> list[gr.Button]:
    if not starters:
        return []
    with gr.Row(elem_classes="bp-starters"):
        return [gr.Button(starter.label, size="sm", min_width=80) for starter in starters]


def _source(finder: Finder, name: str, label: str) -> Source:
    """What a source is and the source itself: kind, words, sound, file, options of the reader, preview."""
    kinds = [kind for kind in KINDS if kind in finder.kinds]
    now = kinds[0]
    kind = gr.Radio([KINDS[kind] for kind in kinds], value=KINDS[now], label=label, elem_id=f"{name}-kind")
    words = gr.Textbox(
        label="Words", placeholder="a dog on a meadow", lines=1, max_lines=4, visible=now == "text",
        elem_id=f"{name}-words",
    )  # fmt: skip
    sound = gr.Audio(
        label="Drop a sound, or record one", sources=["upload", "microphone"], type="filepath",
        visible=now == "audio", elem_id=f"{name}-sound", editable=False, buttons=[],
    )  # fmt: skip
    file = gr.File(
        label="Drop a file", type="filepath", visible=now not in ("text", "audio"), height=120,
        elem_id=f"{name}-file",
    )  # fmt: skip
    shown = gr.HTML(elem_id=f"{name}-preview", elem_classes="bp-preview")
    with gr.Accordion("How to read the file", open=False, visible=now not in ("text",)) as details:
        options = gr.Textbox(
            label="Options of the reader", placeholder="unit=mm", elem_id=f"{name}-options",
            info="Only needed if a file does not say itself what its numbers mean: unit=mm for a depth map, "
            "unit=celsius for heat, sample_rate=100 for a motion log.",
        )  # fmt: skip
    for upload in (sound, file):
        _refuse_addresses(upload)
    kind.change(_fields_of, kind, [words, sound, file, details], **_PLAIN)
    look = functools.partial(_look, finder)
    for component in (kind, file, options):
        component.change(look, [kind, file, options], shown, **_PLAIN)
    return kind, words, sound, file, options, shown


def _refuse_addresses(component: gr.Audio | gr.File) -> None:
    """Gradio would fetch a file from another server if a request named its address in place of an upload."""
    move = component.async_move_resource_to_block_cache

    async def move_local(path: Any) -> str | None:
        if isinstance(path, str) and "://" in path[:40]:
            raise gr.Error("Addresses are not opened; send the file itself.", print_exception=False)
        return await move(path)

    setattr(component, "async_move_resource_to_block_cache", move_local)  # noqa: B010 (it is a method)


def _fields_of(chosen: str) -> list[Any]:
    kind = kind_named(chosen)
    label = f"Drop a {KINDS.get(kind, 'file').lower()}, or choose one"
    return [
        gr.update(visible=kind == "text"),
        gr.update(visible=kind == "audio"),
        gr.update(visible=kind not in ("text", "audio"), label=label),
        gr.update(visible=kind != "text"),
    ]


def _search_tab(finder: Finder, wall: Wall) -> list[Any]:
    """Button, kinds, number, remarks and wall."""
    choices = [(f"{KINDS[kind]} ({count})", kind) for kind, count in _counts(finder) if count]
    with gr.Row(elem_classes="bp-actions"):
        kinds = gr.CheckboxGroup(
            choices, value=[], label="Look among (all if none is ticked)", elem_id="kinds", scale=3
        )
        number = gr.Slider(4, 48, 12, step=4, label="How many", elem_id="number", min_width=220, scale=1)
    button = gr.Button("Search", variant="primary", elem_id="search")
    remarks = gr.HTML(elem_id="search-remarks")
    results = gr.HTML('<p class="bp-empty">Results appear here.</p>', elem_id="results")
    return [button, kinds, number, remarks, results]


def _counts(finder: Finder) -> list[tuple[str, int]]:
    kinds = finder.info().kinds
    return [(kind, kinds.get(kind, 0)) for kind in KINDS]


def _detect_tab(finder: Finder, street: Path | None) -> list[Any]:
    """Button, picture, threshold, remarks and result; empty without a detector."""
    if finder.detector_name is None:
        gr.HTML(tool_note("detector", "--detector"))
        return []
    gr.HTML('<p class="bp-hint">Looks for your query in a picture that you drop here.</p>')
    picture = gr.File(
        str(street) if street else None, label="The picture to look in", type="filepath", height=120,
        elem_id="scene",
    )  # fmt: skip
    _refuse_addresses(picture)
    threshold = gr.Slider(0.05, 0.95, 0.5, step=0.05, label="How sure to be", elem_id="threshold")
    button = gr.Button("Find it", variant="primary", elem_id="detect")
    return [button, picture, threshold, gr.HTML(elem_id="detect-remarks"), gr.HTML(elem_id="detections")]


def _paint_tab(finder: Finder) -> list[Any]:
    """Button, seed, remarks and result; empty without a pipeline."""
    if finder.pipeline_name is None:
        gr.HTML(tool_note("painter", "--pipeline"))
        return []
    gr.HTML('<p class="bp-hint">Makes a new picture of your query.</p>')
    seed = gr.Textbox(
        label="Seed", info="A number; the same one makes the same picture. Empty for a new one.", elem_id="seed",
    )  # fmt: skip
    button = gr.Button("Paint it", variant="primary", elem_id="paint")
    return [button, seed, gr.HTML(elem_id="paint-remarks"), gr.HTML(elem_id="painting")]


# -- what happens -------------------------------------------------------------------------------------------------


def _guarded(function: Callable[..., tuple[str, str]], outputs: int) -> Callable[..., tuple[str, ...]]:
    """Errors as text on the page: what a person can mend as it is, anything else in the terminal."""

    def answer(*values: Any) -> tuple[str, ...]:
        try:
            return function(*values)
        except BindplugError as error:
            message = str(error)
        except Exception:
            logger.exception("the page failed")
            message = FAILED
        return (error_markup(message), *[""] * (outputs - 1))

    return answer


def _search(finder: Finder, wall: Wall, *values: Any) -> tuple[str, str]:
    *query, kinds, number = values
    terms, notes = terms_of(query)
    matches, remarks = finder.search(terms, kinds=kinds or (), k=max(1, min(48, int(number or 12))))
    if not matches and not finder.info().rows:
        return remarks_markup(notes + remarks), empty_index_markup()
    return remarks_markup(notes + remarks), wall.markup(matches, finder.reader_options(matches))


def _detect(finder: Finder, *values: Any) -> tuple[str, str]:
    *query, picture, threshold = values
    terms, notes = terms_of(query)
    if not picture:
        return error_markup("There is no picture to look in yet: drop one above."), ""
    answer = finder.detect(terms, file_leaf("image", picture), threshold=float(threshold or 0.5))
    return remarks_markup(notes + answer.remarks), detection_markup(answer)


def _paint(finder: Finder, *values: Any) -> tuple[str, str]:
    *query, seed = values
    number = seed_of(seed)
    terms, notes = terms_of(query)
    picture, remarks = finder.paint(terms, seed=number)
    factor = max(1, 384 // max(picture.size))
    from PIL import Image

    shown = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)
    alt = f"the picture that was painted, seed {number}"
    caption = f"<figcaption>Seed {number}</figcaption>"
    markup = f'<figure class="bp-figure">{picture_markup(shown, alt, "PNG")}{caption}</figure>'
    return remarks_markup(notes + remarks), markup


def _look(finder: Finder, chosen: str, file: str | None, options: str) -> str:
    """The file of a source as something to look at."""
    try:
        kind = kind_named(chosen)
        if not file or kind in ("text", "audio"):
            return ""
        settings = reader_options(options or "")
        leaf = file_leaf(kind, file, settings)
        check_size(leaf, finder.limits)
    except BindplugError as error:
        return error_markup(str(error))
    name = Path(file).name
    shown = preview(finder.model, kind, leaf.source, name, options=settings)
    if shown is None:
        return ""
    legend = f"<figcaption>{clean(shown.legend)}</figcaption>" if shown.legend else ""
    return f'<figure class="bp-figure">{shown.markup}{legend}</figure>'


def _filled(starter: Starter) -> list[Any]:
    """Values of the fields of both sources for a query to try."""
    second = starter.second or ("text", "")
    return [
        *_values(starter.first),
        starter.second is not None,
        *_values(second),
        starter.weight,
    ]


def _values(source: tuple[str, str]) -> list[Any]:
    kind, value = source
    return [
        KINDS[kind],
        value if kind == "text" else "",
        value if kind == "audio" else None,
        value if kind not in ("text", "audio") else None,
    ]

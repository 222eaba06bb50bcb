"""The page: a query of one or two sources, and what to do with it."""

from __future__ import annotations

import asyncio
import functools
import os
import tempfile
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr
from gradio.utils import get_upload_folder

from bindplug_app import actions
from bindplug_app.cards import Wall
from bindplug_app.finder import Finder
from bindplug_app.guards import PageGuard
from bindplug_app.media import Media
from bindplug_app.previews import KINDS
from bindplug_app.sources import kind_of
from bindplug_app.starters import Starter, make_starters, make_street
from bindplug_app.theme import make_theme
from bindplug_app.words import intro_markup, tool_note
from bindplug_serve import HostGuard
from bindplug_toyworld import TOY_SPACE

if TYPE_CHECKING:
    from gradio.components import Component

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
CSS = Path(__file__).with_name("page.css")
PRIVATE: Any = {"api_visibility": "private"}
"""Of an event: Gradio's API does not list it."""


class SourceFields(NamedTuple):
    """The fields of one source of a query."""

    kind: gr.Radio
    words: gr.Textbox
    sound: gr.Audio
    file: gr.File
    options: gr.Textbox


class Action(NamedTuple):
    """What starts an action, what it reads beside the query, and where its remarks and its result go."""

    button: gr.Button
    inputs: list[Component]
    outputs: list[Component]


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
            starter_buttons = _starter_buttons(starters)
            first = _source_fields(finder, "first", "Look for")
            second_switch = gr.Checkbox(label="Add a second one", elem_id="second-switch")
            with gr.Group(visible=False, elem_id="second-group") as second_group:
                second = _source_fields(finder, "second", "Add")
                weight = gr.Slider(
                    -2, 2, 1, step=0.1, label="Weight of the second", elem_id="weight",
                    info="Below 0 leads away from it, 0 leaves it out.",
                )  # fmt: skip
        with gr.Column(scale=5, min_width=320), gr.Tabs(elem_id="actions"):
            with gr.Tab("Search", id="search"):
                search = _search_tab(finder)
            with gr.Tab("Find in a picture", id="detect"):
                detect = _detect_tab(finder, make_street(folder) if is_toy else None)
            with gr.Tab("Paint", id="paint"):
                paint = _paint_tab(finder)
    second_switch.change(lambda on: gr.update(visible=bool(on)), second_switch, second_group, **PRIVATE)
    query: list[Component] = [*first, second_switch, *second, weight]  # in the order of sources.terms_of
    search_event = _event(functools.partial(actions.search, finder, wall), query, search)
    show_results: Any = {"fn": None, "js": SHOW_RESULTS, **PRIVATE}
    for start in (search.button.click, first.words.submit, second.words.submit):
        start(**search_event).then(**show_results)
    for button, starter in zip(starter_buttons, starters, strict=True):
        fill = functools.partial(_query_values, starter)
        button.click(fill, None, query, **PRIVATE).then(**search_event).then(**show_results)
    if detect is not None:
        detect.button.click(**_event(functools.partial(actions.detect, finder), query, detect))
    if paint is not None:
        paint.button.click(**_event(functools.partial(actions.paint, finder), query, paint))


def _event(function: Callable[..., actions.Answer], query: list[Component], action: Action) -> dict[str, Any]:
    """Arguments of an event listener that does an action with a query."""
    inputs = [*query, *action.inputs]
    return {"fn": actions.guarded(function), "inputs": inputs, "outputs": action.outputs, **PRIVATE}


def _starter_buttons(starters: Sequence[Starter]) -> list[gr.Button]:
    if not starters:
        return []
    with gr.Row(elem_classes="bp-starters"):
        return [gr.Button(starter.label, size="sm", min_width=80) for starter in starters]


def _source_fields(finder: Finder, name: str, label: str) -> SourceFields:
    """The fields of a source, with a preview of its file below them."""
    kinds = [kind for kind in KINDS if kind in finder.kinds]
    first_kind = kinds[0]
    kind = gr.Radio(
        [KINDS[kind] for kind in kinds], value=KINDS[first_kind], label=label, elem_id=f"{name}-kind",
    )  # fmt: skip
    words = gr.Textbox(
        label="Words", placeholder="a dog on a meadow", lines=1, max_lines=4, visible=first_kind == "text",
        elem_id=f"{name}-words",
    )  # fmt: skip
    sound = gr.Audio(
        label="Drop a sound, or record one", sources=["upload", "microphone"], type="filepath",
        visible=first_kind == "audio", elem_id=f"{name}-sound", editable=False, buttons=[],
    )  # fmt: skip
    file = gr.File(
        label="Drop a file", type="filepath", visible=first_kind not in ("text", "audio"), height=120,
        elem_id=f"{name}-file",
    )  # fmt: skip
    preview = gr.HTML(elem_id=f"{name}-preview", elem_classes="bp-preview")
    with gr.Accordion("How to read the file", open=False, visible=first_kind != "text") as details:
        options = gr.Textbox(
            label="Options of the reader", placeholder="unit=mm", elem_id=f"{name}-options",
            info="Only needed if a file does not say itself what its numbers mean: unit=mm for a depth map, "
            "unit=celsius for heat, sample_rate=100 for a motion log.",
        )  # fmt: skip
    for upload in (sound, file):
        _refuse_addresses(upload)
    kind.change(_field_updates, kind, [words, sound, file, details], **PRIVATE)
    look = functools.partial(actions.look, finder)
    for component in (kind, file, options):
        component.change(look, [kind, file, options], preview, **PRIVATE)
    return SourceFields(kind, words, sound, file, options)


def _refuse_addresses(component: gr.Audio | gr.File) -> None:
    """Gradio would fetch a file from another server if a request named its address in place of an upload."""
    move = component.async_move_resource_to_block_cache

    async def move_local(path: Any) -> str | None:
        if isinstance(path, str) and "://" in path[:40]:
            raise gr.Error("Addresses are not opened; send the file itself.", print_exception=False)
        return await move(path)

    setattr(component, "async_move_resource_to_block_cache", move_local)  # noqa: B010 (it is a method)


def _field_updates(label: str) -> list[Any]:
    """Which of words, sound, file and reader options are visible for a kind."""
    kind = kind_of(label)
    return [
        gr.update(visible=kind == "text"),
        gr.update(visible=kind == "audio"),
        gr.update(
            visible=kind not in ("text", "audio"), label=f"Drop a {KINDS[kind].lower()}, or choose one"
        ),
        gr.update(visible=kind != "text"),
    ]


def _search_tab(finder: Finder) -> Action:
    counts = finder.info().kinds
    choices = [(f"{KINDS[kind]} ({counts[kind]})", kind) for kind in KINDS if counts.get(kind)]
    with gr.Row(elem_classes="bp-actions"):
        kinds = gr.CheckboxGroup(
            choices, value=[], label="Look among (all if none is ticked)", elem_id="kinds", scale=3
        )
        number = gr.Slider(
            4, actions.MOST_MATCHES, 12, step=4, label="How many", elem_id="number", min_width=220, scale=1
        )
    button = gr.Button("Search", variant="primary", elem_id="search")
    remarks = gr.HTML(elem_id="search-remarks")
    results = gr.HTML('<p class="bp-empty">Results appear here.</p>', elem_id="results")
    return Action(button, [kinds, number], [remarks, results])


def _detect_tab(finder: Finder, street: Path | None) -> Action | None:
    """None without a detector."""
    if finder.detector_name is None:
        gr.HTML(tool_note("detector", "--detector"))
        return None
    gr.HTML('<p class="bp-hint">Looks for your query in a picture that you drop here.</p>')
    picture = gr.File(
        str(street) if street else None, label="The picture to look in", type="filepath", height=120,
        elem_id="scene",
    )  # fmt: skip
    _refuse_addresses(picture)
    threshold = gr.Slider(0.05, 0.95, 0.5, step=0.05, label="How sure to be", elem_id="threshold")
    button = gr.Button("Find it", variant="primary", elem_id="detect")
    outputs: list[Component] = [gr.HTML(elem_id="detect-remarks"), gr.HTML(elem_id="detections")]
    return Action(button, [picture, threshold], outputs)


def _paint_tab(finder: Finder) -> Action | None:
    """None without a pipeline."""
    if finder.pipeline_name is None:
        gr.HTML(tool_note("painter", "--pipeline"))
        return None
    gr.HTML('<p class="bp-hint">Makes a new picture of your query.</p>')
    seed = gr.Textbox(
        label="Seed", info="A number; the same one makes the same picture. Empty for a new one.", elem_id="seed",
    )  # fmt: skip
    button = gr.Button("Paint it", variant="primary", elem_id="paint")
    return Action(button, [seed], [gr.HTML(elem_id="paint-remarks"), gr.HTML(elem_id="painting")])


def _query_values(starter: Starter) -> list[Any]:
    """Values of the query's fields for a query to try."""
    second = starter.second or ("text", "")
    return [
        *_source_values(*starter.first),
        starter.second is not None,
        *_source_values(*second),
        starter.weight,
    ]


def _source_values(kind: str, value: str) -> list[Any]:
    """Values of :class:`SourceFields`."""
    return [
        KINDS[kind],
        value if kind == "text" else "",
        value if kind == "audio" else None,
        value if kind not in ("text", "audio") else None,
        "",
    ]

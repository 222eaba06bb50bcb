"""A page that searches a library by every sense, on this machine or as a Hugging Face Space.

python examples/app.py [INDEX] [--model imagebind_huge]

Without an index it makes the toy world's. As a Space it is the file app.py, as docs/app.md describes; an index in the
directory `library.lance` beside it, with its files, is opened there.
"""

import argparse
from pathlib import Path

import bindplug
from bindplug_app import Finder, create_page, toy_library
from bindplug_search import open_index

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("index", nargs="?", type=Path, help="an index of `bindplug index add`")
parser.add_argument(
    "--model", default="imagebind_tiny", help="the index's model: a name, or a path to weights"
)
parser.add_argument("--detector", help="what finds things in pictures; the toy model has its own")
parser.add_argument("--pipeline", help="a diffusers pipeline that paints; the toy model has its own")
options = parser.parse_args()

beside = Path(__file__).with_name("library.lance")
path = options.index or (beside if beside.exists() else None)
is_toy = options.model == "imagebind_tiny"
model = bindplug.load(options.model)
finder = Finder(
    open_index(path or toy_library(model), model=model),
    model,
    detector=options.detector or ("toy_detic" if is_toy else None),
    pipeline=options.pipeline or ("toy_unclip" if is_toy else None),
)
demo = create_page(finder)

if __name__ == "__main__":
    demo.launch()

"""What the package brings to bindplug: a reader. Imports bindplug and nothing heavy, for every command looks at it."""

from collections.abc import Callable

from bindplug import hookimpl
from bindplug.cards import InputCard


@hookimpl
def register_inputs(register: Callable[[InputCard], None]) -> None:
    """``bindplug.read("stereo_disparity", source)``."""
    register(
        InputCard(
            name="stereo_disparity",
            description="disparity maps of a stereo camera, 16-bit PNG in 1/256 pixel, as KITTI writes them",
            modality="depth",
            target="bindplug_stereo.reader:read",
        )
    )

"""The baseline: ImageBind as one would write it from the paper, with no shortcut taken."""

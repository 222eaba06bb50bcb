"""Scores of generated files against their prompts, as the cosine of ImageBind's rows."""

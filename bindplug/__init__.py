"""ImageBind as a CLIP-compatible encoder: existing CLIP tools hear, feel depth, see heat and sense motion."""

"""Colors and fonts of the page."""

from __future__ import annotations

import gradio as gr

SYSTEM_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
MONOSPACED_FONTS = ["ui-monospace", "Menlo", "Consolas", "monospace"]


def make_theme() -> gr.themes.Base:
    """System fonts, and colors of at least 4.5 to 1 on their grounds, light and dark."""
    theme = gr.themes.Default(
        primary_hue="teal", neutral_hue="slate", font=SYSTEM_FONTS, font_mono=MONOSPACED_FONTS
    )
    return theme.set(
        button_primary_background_fill="#0f766e",
        button_primary_background_fill_hover="#115e59",
        button_primary_background_fill_dark="#0f766e",
        button_primary_background_fill_hover_dark="#115e59",
        color_accent="#0f766e",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        button_primary_text_color="white",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        checkbox_label_background_fill_selected="#0f766e",
        checkbox_label_background_fill_selected_dark="#0f766e",
        checkbox_label_text_color_selected="white",
        checkbox_background_color_selected="#134e4a",
    )

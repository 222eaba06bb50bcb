"""Data that is no picture Pillow reads, told by its first bytes, and what to do about it."""

from __future__ import annotations

AVIF_BRANDS = (b"avif", b"avis")
TIFF_HEADS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
KINDS = (
    (b"\x1f\x8b", "a gzip file", "Unpack it first."),
    (b"PK\x03\x04", "a zip file", "Unpack it first."),
    (b"Rar!", "a RAR archive", "Unpack it first."),
    (b"%PDF", "a PDF document", "Save its page as PNG."),
    (b"<svg", "an SVG drawing", "Render it to PNG."),
    (b"<?xml", "an XML document", "Render it to PNG if it is an SVG drawing."),
    (b"<!doctype html", "a web page, as a failed download leaves it", "Download the file itself."),
    (b"<html", "a web page, as a failed download leaves it", "Download the file itself."),
    (b"\xff\x0a", "a JPEG XL picture", "Export it as JPEG or PNG."),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture", "Export it as JPEG or PNG."),
    (b"#?RADIANCE", "a Radiance HDR picture", "Tone-map it and save it as PNG."),
    (b"v/1\x01", "an OpenEXR picture", "Tone-map it and save it as PNG; as depth it is read."),
    (b"\x93NUMPY", "a numpy file", "Pass the array: numpy.load(path)."),
    (b"II*\x00\x10\x00\x00\x00CR", "a raw camera file", "Develop it, or take the JPEG beside it."),
    (b"FUJIFILMCCD-RAW", "a raw camera file", "Develop it, or take the JPEG beside it."),
    (b"IIU\x00", "a raw camera file", "Develop it, or take the JPEG beside it."),
    (b"IIRO", "a raw camera file", "Develop it, or take the JPEG beside it."),
    (b"RIFF", "a RIFF file that is no WebP picture (a sound or a video?)", ""),
    (b"\x1aE\xdf\xa3", "a Matroska video", "Pass it as a video."),
)
"""First bytes (letters in lower case where they are text), what they begin, and the remedy."""


def describe_other(head: bytes, pixels: str) -> tuple[str, str]:
    """What data that begins with ``head`` is, and the remedy; ``pixels`` are those of a TIFF in words."""
    if head[4:8] == b"ftyp":
        if any(brand in head[8:] for brand in AVIF_BRANDS):
            detail = "an AVIF picture that this Pillow cannot read (damaged, or built without AVIF)"
            return detail, 'pip install "pillow>=11.3", or export it as PNG.'
        if head[8:11] == b"crx":
            return "a raw camera file", "Develop it, or take the JPEG beside it."
        return "an MP4 or QuickTime file", "Pass it as a video."
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, kind, remedy in KINDS:
        if head.startswith(magic) or (magic[:1] == b"<" and text.startswith(magic)):
            return kind, remedy
    if head.startswith(TIFF_HEADS):
        remedy = (
            "Pass the array that tifffile.imread(path) gives; or save one channel of 16-bit integers or 32-bit floats, "
            "or 8-bit RGB."
        )
        return f"a TIFF with {pixels or 'a kind of pixels'}, which Pillow does not read", remedy
    return "data in no picture format that Pillow knows", ""

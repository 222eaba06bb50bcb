"""`bindplug embed --on-error skip`: nothing inside a file ends the job, and Ctrl-C ends it though a reader is stuck."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import soundfile
from PIL import Image


def wav(samples, rate=16_000, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", **options)
    return buffer.getvalue()


def hostile(folder):
    """(modality, file) of sources that must be skipped, each for a reason of its own."""
    one_hertz = bytearray(wav(np.zeros(1_000_000, np.int16)))
    one_hertz[24:28] = struct.pack("<I", 1)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme.txt", "no log")
    picture = io.BytesIO()
    Image.fromarray(np.zeros((1, 60_000), np.uint8)).save(picture, "PNG")
    contents = {
        "loud.wav": ("audio", wav(np.full(4000, 1e30, np.float32), subtype="FLOAT")),
        "nan.wav": ("audio", wav(np.full(4000, np.nan, np.float32), subtype="FLOAT")),
        "hertz.wav": ("audio", bytes(one_hertz)),
        "slow.wav": ("audio", bytes(one_hertz[:100_000])),  # would be 24,000 windows of two samples
        "list.wav": ("audio", b"ffconcat version 1.0\nfile good.wav\n"),
        "log.csv": ("imu", archive.getvalue()),
        "stamps.csv": (
            "imu",
            b"timestamp,ax,ay,az,gx,gy,gz\n" + b"1e300,1,2,3,4,5,6\n-1e300,1,2,3,4,5,6\n" * 50,
        ),
        "line.json": ("imu", b'{"a": ' + b"9" * 200_000),
        "words.npy": ("depth", b"\x93NUMPY\x01\x00\xff\xff{'descr': '__import__'"),
        "depth.mat": ("depth", b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"\xff" * 64),
        "clip.mp4": ("video", b"\0\0\0\x18ftypisom" + os.urandom(4000)),
        "image.eps": ("image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(x) run\n"),
    }
    for name, (_, content) in contents.items():
        (folder / name).write_bytes(content)
    return [(modality, folder / name) for name, (modality, _) in contents.items()]


def test_every_hostile_file_is_skipped_with_its_name(bindplug, model_directory, tmp_path):
    (tmp_path / "good.wav").write_bytes(wav(np.full(8000, 0.1, np.float32)))
    sources = hostile(tmp_path)
    if hasattr(os, "mkfifo"):
        (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
        sources.append(("audio", tmp_path / "loop.wav"))
        os.mkfifo(tmp_path / "pipe.wav")
        sources += [("audio", tmp_path / "pipe.wav"), ("image", "/dev/zero")]
    listed = tmp_path / "list.txt"
    lines = [f"{modality}\t{path}" for modality, path in sources]
    lines.insert(3, f"audio\t{tmp_path / 'good.wav'}")
    listed.write_text("\n".join(lines))
    output = tmp_path / "out.npz"
    command = [
        "embed",
        "--from-list",
        listed,
        "-o",
        output,
        "--model",
        model_directory,
        "--on-error",
        "skip",
        "--json",
    ]
    ran = bindplug(*command)
    assert ran.code == 3
    assert ran.json["rows"] == 1
    assert [item["source"] for item in ran.json["skipped"]] == [str(path) for _, path in sources]
    assert all(item["reason"].startswith(item["source"]) for item in ran.json["skipped"])
    windows = bindplug(*command, "--windows", 2, "--overwrite")
    assert windows.code == 3
    assert len(windows.json["skipped"]) == len(sources)


@pytest.mark.skipif(sys.platform == "win32", reason="signals end a process there")
def test_an_interrupt_ends_the_job_though_a_reader_is_stuck(model_directory, tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(np.full(8000, 0.1, np.float32)))
    code = (
        "import signal, sys, threading\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start its jobs with it ignored\n"
        "from bindplug.cli.app import run\n"
        "from bindplug.inputs import AudioPreprocess\n"
        "def stuck(self, source, **options):\n"
        "    print('reading', flush=True)\n"
        "    threading.Event().wait()\n"
        "AudioPreprocess.read = stuck\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    command = ["embed", "--audio", tmp_path / "a.wav", "-o", tmp_path / "o.npz", "--model", model_directory]
    arguments = [sys.executable, "-c", code, *map(str, command)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout.readline() == "reading\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "interrupted" in errors

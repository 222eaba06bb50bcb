"""Miniature data sets in the layouts of the real ones: a few tiny files each."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
from PIL import Image

from bindplug_lab.tasks import Task, load_task


def write_sound(path: Path, seconds: float = 0.1, rate_hz: int = 8000, tone_hz: float = 440.0) -> Path:
    """A WAV file of a tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(int(seconds * rate_hz)) / rate_hz
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.sin(2 * np.pi * tone_hz * times) * 20000).astype("<i2").tobytes())
    return path


def write_picture(
    path: Path, color: tuple[int, int, int] | int = (200, 30, 30), size: tuple[int, int] = (16, 12)
) -> Path:
    """A picture of one color; grey for a number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(color, int) else "RGB", size, color).save(path)
    return path


def write_text(path: Path, text: str) -> Path:
    """A text file, in UTF-8 and with the line ends of the text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))
    return path


def make_esc50(root: Path) -> Path:
    """Two sounds of each of 50 classes, one in fold 1 or 2 and one in fold 3, 4 or 5, as the archive unpacks."""
    folder = root / "ESC-50-master"
    names = ["dog", "rooster", "pig", "cow", "door_wood_knock"] + [f"class_{place}" for place in range(5, 50)]
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for target, name in enumerate(names):
        for fold in (1 + target % 2, 3 + target % 3):
            filename = f"{fold}-{1000 + target}-A-{target}.wav"
            lines.append(f"{filename},{fold},{target},{name},False,{1000 + target},A")
            write_sound(folder / "audio" / filename, tone_hz=200 + 20 * target)
    write_text(folder / "meta" / "esc50.csv", "\n".join(lines) + "\n")
    return folder


def write_video(path: Path, frames: int = 6, fps: int = 5, *, with_sound: bool = True) -> Path:
    """An MP4 of a moving square, with a tone as its sound track."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=fps)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        sound = container.add_stream("aac", rate=16000) if with_sound else None
        if sound is not None:
            sound.layout = "mono"
        for number in range(frames):
            pixels = np.full((32, 32, 3), 40, dtype=np.uint8)
            pixels[4 * number % 28 :, :8] = 220
            container.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(picture.encode())
        if sound is not None:
            times = np.arange(16000 * frames // fps) / 16000
            tone = (np.sin(2 * np.pi * 440 * times) * 0.5).astype(np.float32)
            for start in range(0, len(tone), 1024):
                chunk = av.AudioFrame.from_ndarray(
                    tone[None, start : start + 1024], format="fltp", layout="mono"
                )
                chunk.sample_rate, chunk.pts = 16000, start
                container.mux(sound.encode(chunk))
            container.mux(sound.encode())
    return path


def make_imagenet(root: Path, layout: str = "folders") -> Path:
    """Four pictures of three synsets, as folders of synsets, with Kaggle's table, or with the development kit."""
    folder = root / "imagenet"
    labels = {1: "n01440764", 2: "n01443537", 3: "n01440764", 4: "n04008634"}
    stems = {number: f"ILSVRC2012_val_{number:08d}" for number in labels}
    for number, synset in labels.items():
        base = folder / "val" / synset if layout == "folders" else folder / "val"
        write_picture(base / f"{stems[number]}.png").rename(base / f"{stems[number]}.JPEG")
    if layout == "kaggle":
        rows = [f"{stems[number]},{synset} 10 20 300 400 " for number, synset in labels.items()]
        write_text(folder / "LOC_val_solution.csv", "ImageId,PredictionString\n" + "\n".join(rows) + "\n")
    if layout == "devkit":
        from scipy.io import savemat

        kit = folder / "ILSVRC2012_devkit_t12" / "data"
        ids = {"n01443537": 1, "n04008634": 2, "n01440764": 3}  # not in the order of the synsets
        write_text(
            kit / "ILSVRC2012_validation_ground_truth.txt", "".join(f"{ids[s]}\n" for s in labels.values())
        )
        synsets = np.zeros((3, 1), dtype=[("ILSVRC2012_ID", object), ("WNID", object), ("words", object)])
        for row, (synset, number) in enumerate(ids.items()):
            synsets[row, 0] = (number, synset, f"words of {synset}")
        savemat(kit / "meta.mat", {"synsets": synsets})
    return folder


def make_places365(root: Path) -> Path:
    """Three pictures of three scenes."""
    folder = root / "places365"
    write_text(
        folder / "categories_places365.txt",
        "/a/airfield 0\n/a/apartment_building/outdoor 1\n/z/zen_garden 2\n",
    )
    write_text(
        folder / "places365_val.txt",
        "Places365_val_00000001.jpg 2\r\nPlaces365_val_00000002.jpg 0\r\nPlaces365_val_00000003.jpg 1\r\n",
    )
    for number in (1, 2, 3):
        write_picture(folder / "val_256" / f"Places365_val_{number:08d}.jpg")
    return folder


def make_kinetics400(root: Path) -> Path:
    """Three videos of two actions, one in a folder of its class."""
    folder = root / "kinetics400"
    rows = [
        "label,youtube_id,time_start,time_end,split",
        "petting animal (not cat),-1_2abcDEF0,7,17,val",
        "abseiling,0wR5jVB-WPk,417,427,val",
        '"abseiling",3caPS4FHFF8,36,46,val',
    ]
    write_text(folder / "annotations" / "val.csv", "\n".join(rows) + "\n")
    write_video(folder / "val" / "-1_2abcDEF0_000007_000017.mp4", with_sound=False)
    write_video(folder / "val" / "0wR5jVB-WPk_000417_000427.mp4", with_sound=False)
    write_video(folder / "val" / "abseiling" / "3caPS4FHFF8_000036_000046.mp4", with_sound=False)
    return folder


def make_msrvtt(root: Path) -> Path:
    """Three videos with sound tracks, the table of 1k-A (two of them) and the JSON of the test split."""
    folder = root / "msrvtt"
    write_text(
        folder / "MSRVTT_JSFUSION_test.csv",
        "key,vid_key,video_id,sentence\nret0,msr9770,video9770,a person is connecting something to system\n"
        'ret1,msr9771,video9771,"a little girl does gymnastics, alone"\n',
    )
    sentences = [
        {"caption": f"caption {number} of {video}", "video_id": video, "sen_id": number}
        for number, video in enumerate(["video9770", "video9771", "video9770", "video7010", "video0"])
    ]
    videos = [
        {"video_id": video, "category": 9, "split": split, "start time": 0.0, "end time": 10.0}
        for video, split in (
            ("video9770", "test"),
            ("video9771", "test"),
            ("video7010", "test"),
            ("video0", "train"),
        )
    ]
    write_text(
        folder / "MSRVTT_data.json", json.dumps({"info": {}, "videos": videos, "sentences": sentences})
    )
    for video in ("video9770", "video9771", "video7010"):
        write_video(folder / "videos" / "all" / f"{video}.mp4")
    return folder


def make_nyud(root: Path) -> Path:
    """Four rooms in an HDF5 file as MATLAB writes it, with a split of three and one."""
    import h5py
    from scipy.io import savemat

    folder = root / "nyu_depth_v2"
    folder.mkdir(parents=True)
    rooms = ["kitchen", "study_room", "home_office", "bedroom"]
    width, height = 20, 16
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "w") as file:
        depths = np.stack(
            [np.linspace(1, 2 + room, width * height).reshape(width, height) for room in range(4)]
        )
        file["depths"] = depths.astype(np.float32)
        file["images"] = np.arange(4 * 3 * width * height).reshape(4, 3, width, height).astype(np.uint8)
        cells = file.create_dataset("sceneTypes", (1, 4), dtype=h5py.ref_dtype)
        for place, room in enumerate(rooms):
            name = f"#refs#/{place}"
            file[name] = np.array([ord(letter) for letter in room], dtype=np.uint16)[:, None]
            cells[0, place] = file[name].ref
    train = np.array([[1]], dtype=np.uint16)
    savemat(
        folder / "splits.mat", {"trainNdxs": train, "testNdxs": np.array([[2], [3], [4]], dtype=np.uint16)}
    )
    return folder


def make_sun_rgbd(root: Path) -> Path:
    """Four scenes of three sensors, of which one is outside the 19, with the toolbox's split."""
    from scipy.io import savemat

    folder = root / "sun_rgbd"
    scenes = {
        "kv1/NYUdata/NYU0001": ("bathroom", "518.857901 0 284.5 0 519.5 208.7 0 0 1"),
        "kv2/kinect2data/000002_2014-05-26_14-23-37_260595134347_rgbf000103-resize": (
            "office",
            "529.5 0 365 0 529.5",
        ),
        "xtion/sun3ddata/mit_32_d507/frame": ("idk", "570.342205 0 310 0 570.342205 225 0 0 1"),
        "realsense/lg/2014_10_20-14_47_42-1311000073": ("study_space", "691.584229\n0\n362.7"),
    }
    for name, (label, intrinsics) in scenes.items():
        scene = folder / "SUNRGBD" / name
        write_text(scene / "scene.txt", label)
        write_text(scene / "intrinsics.txt", intrinsics + "\n")
        write_picture(scene / "image" / "0001.jpg")
        for kind in ("depth", "depth_bfx"):
            (scene / kind).mkdir()
            millimetres = np.tile(np.linspace(1000, 3000, 16, dtype=np.uint16), (12, 1))
            Image.fromarray((millimetres << 3) | (millimetres >> 13)).save(scene / kind / "0001.png")
    paths = [f"/n/fs/sun3d/data/SUNRGBD/{name}/" for name in scenes]
    test = np.array([*paths[:3]], dtype=object)[None]
    train = np.array([paths[3].rstrip("/")], dtype=object)[None]
    split = folder / "SUNRGBDtoolbox" / "traintestSUNRGBD"
    split.mkdir(parents=True)
    savemat(split / "allsplit.mat", {"alltest": test, "alltrain": train})
    return folder


AUDIOSET_CLASSES = (("/m/09x0r", "Speech"), ("/m/05zppz", "Male speech, man speaking"), ("/m/0bt9lr", "Dog"))


def make_audioset(root: Path) -> Path:
    """Three segments, named as three downloaders have it, with three classes."""
    folder = root / "audioset"
    rows = [f'{place},{mid},"{name}"' for place, (mid, name) in enumerate(AUDIOSET_CLASSES)]
    write_text(folder / "class_labels_indices.csv", "index,mid,display_name\n" + "\n".join(rows) + "\n")
    write_text(
        folder / "eval_segments.csv",
        "# Segments csv created Sun Mar  5 10:54:25 2017\n"
        "# num_ytids=3, num_segs=3, num_unique_labels=3, num_positive_labels=4\n"
        "# YTID, start_seconds, end_seconds, positive_labels\n"
        '--4gqARaEJE, 0.000, 10.000, "/m/0bt9lr"\n'
        '--BfvyPmVMo, 20.000, 30.000, "/m/09x0r,/m/05zppz"\n'
        'zzzzzzzzzz_, 30.500, 40.500, "/m/09x0r"\n',
    )
    write_sound(folder / "eval_segments" / "--4gqARaEJE.wav")
    write_sound(folder / "eval_segments" / "Y--BfvyPmVMo.wav")
    write_sound(folder / "eval_segments" / "zzzzzzzzzz__30500_40500.wav")
    return folder


def make_vggsound(root: Path) -> Path:
    """Three segments of the test split and one of the train split; one is a video."""
    folder = root / "vggsound"
    write_text(
        folder / "vggsound.csv",
        '---g-f_I2yQ,1,people marching,test\n--0PQM4-hqg,30,"playing drums, loudly",train\n'
        '--56QUhyDQM,185,"playing drums, loudly",test\n-0BIyqJj9ZU,30,child singing,test\n',
    )
    write_sound(folder / "audio" / "---g-f_I2yQ_000001.wav")
    write_sound(folder / "audio" / "--56QUhyDQM_000185.wav")
    write_video(folder / "audio" / "-0BIyqJj9ZU_000030.mp4")
    return folder


def make_clotho(root: Path) -> Path:
    """Two sounds with five captions each; one name has a blank before its suffix in the table alone."""
    folder = root / "clotho"
    rows = ["file_name,caption_1,caption_2,caption_3,caption_4,caption_5"]
    for name in ("Santa Motor.wav", "rain on roof .wav"):
        stem = name.split(".")[0].strip()
        captions = [f'"caption {number}, of {stem}."' for number in range(1, 6)]
        rows.append(",".join([name, *captions]))
        write_sound(folder / "evaluation" / f"{stem}.wav")
    write_text(folder / "clotho_captions_evaluation.csv", "\r\n".join(rows) + "\r\n")
    return folder


def make_audiocaps(root: Path) -> Path:
    """Two sounds, with two captions and with one."""
    folder = root / "audiocaps"
    write_text(
        folder / "dataset" / "test.csv",
        "audiocap_id,youtube_id,start_time,caption\n103549,7fmOlUlwoNg,0,Constant rattling noise and sharp vibrations\n"
        '103548,6BJ455B1aAs,0,"A rocket flies by, followed by a loud explosion"\n'
        "103541,7fmOlUlwoNg,0,The rumbling of a bus\n",
    )
    write_sound(folder / "audio" / "test" / "7fmOlUlwoNg.wav")
    write_sound(folder / "audio" / "test" / "6BJ455B1aAs_0.wav")
    return folder


def make_llvip(root: Path) -> Path:
    """Two pairs of pictures with two persons and with one, bright on dark ground."""
    folder = root / "LLVIP"
    boxes = {"190001": [(4, 5, 16, 35), (40, 10, 52, 40)], "190002": [(20, 4, 34, 44)]}
    for name, people in boxes.items():
        heat = np.full((48, 64), 20, dtype=np.uint8)
        for left, top, right, bottom in people:
            heat[top:bottom, left:right] = 230
        for kind in ("infrared", "visible"):
            (folder / kind / "test").mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(heat).convert("RGB")
            picture.save(folder / kind / "test" / f"{name}.jpg", quality=95)
        things = "".join(
            f"<object><name>person</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax>"
            "</bndbox></object>"
            for a, b, c, d in people
        )
        write_text(
            folder / "Annotations" / f"{name}.xml",
            f"<annotation><filename>{name}.jpg</filename><size><width>64</width><height>48</height><depth>3</depth>"
            f"</size>{things}</annotation>",
        )
    return folder


def make_ego4d(root: Path) -> Path:
    """Four videos: two of one scenario, one of two, and one without motion. Recordings of 12 s and 7 s at 20 Hz."""
    folder = root / "ego4d"
    videos = [
        {
            "video_uid": "aaaa-1",
            "duration_sec": 12.5,
            "scenarios": ["Cooking"],
            "has_imu": True,
            "split_fho": "val",
        },
        {
            "video_uid": "bbbb-2",
            "duration_sec": 8.0,
            "scenarios": ["Biking"],
            "has_imu": True,
            "split_fho": "train",
        },
        {
            "video_uid": "cccc-3",
            "duration_sec": 7.0,
            "scenarios": ["Cooking", "Eating"],
            "has_imu": True,
            "split_fho": None,
        },
        {
            "video_uid": "dddd-4",
            "duration_sec": 9.0,
            "scenarios": ["Golfing"],
            "has_imu": False,
            "split_fho": "val",
        },
    ]
    write_text(folder / "ego4d.json", json.dumps({"date": "", "version": "2.1", "videos": videos}))
    for uid, seconds in (("aaaa-1", 12.0), ("bbbb-2", 7.0), ("cccc-3", 7.0)):
        times = np.arange(0, seconds + 0.01, 0.05)
        rows = [
            "component_idx,component_timestamp_ms,canonical_timestamp_ms,gyro_x,gyro_y,gyro_z,accl_x,accl_y,accl_z"
        ]
        for t in times:
            motion = f"{0.1 * np.sin(t):.5f},0.02,0.01,0.1,{9.8 + np.sin(6 * t):.5f},0.3"
            rows.append(f"0,{1000 * t:.3f},{5000 + 1000 * t:.3f},{motion}")
        write_text(folder / "v2" / "imu" / f"{uid}.csv", "\n".join(rows) + "\n")
    return folder


MAKERS = {
    "audiocaps": make_audiocaps,
    "audioset": make_audioset,
    "clotho": make_clotho,
    "ego4d": make_ego4d,
    "esc50": make_esc50,
    "esc50_few_shot": make_esc50,
    "imagenet1k": make_imagenet,
    "kinetics400": make_kinetics400,
    "llvip": make_llvip,
    "msrvtt": make_msrvtt,
    "msrvtt_audio": make_msrvtt,
    "msrvtt_audio_video": make_msrvtt,
    "nyud": make_nyud,
    "places365": make_places365,
    "sun_rgbd": make_sun_rgbd,
    "sun_rgbd_few_shot": make_sun_rgbd,
    "vggsound": make_vggsound,
}
"""A builder for each task that needs data."""

FEWER = {
    "audioset": {"classes": 3},
    "imagenet1k": {"count": 4},
    "kinetics400": {"classes": 2},
    "places365": {"classes": 3},
    "vggsound": {"classes": 3},
}
"""Options with which the real tasks take their miniature."""


def miniature_task(name: str) -> Task:
    """The task, for its miniature."""
    return load_task(name).with_options(**FEWER.get(name, {}))

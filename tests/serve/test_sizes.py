"""Small files that become large once they are read are refused before that."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import scipy.io

from bindplug.errors import InputError
from bindplug.modality import Modality
from bindplug.query import Leaf
from bindplug_serve.items import Upload
from bindplug_serve.limits import Limits
from bindplug_serve.sizes import check_size
from tests.serve.running import encoded

LIMITS = Limits(unpacked_bytes=1 << 20)
FILL = {"small": 1000, "large": 1100 * 1000}


def npz(count):
    file = io.BytesIO()
    np.savez_compressed(file, depth=np.zeros((count // 1000, 1000), np.uint8))
    return file.getvalue()


def matlab(count):
    file = io.BytesIO()
    scipy.io.savemat(file, {"depth": np.zeros((count // 1000, 1000), np.uint8)}, do_compression=True)
    return file.getvalue()


def archive(count):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.csv", b"0,0,0,0\n" * (count // 8))
    return file.getvalue()


def parquet(count):
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"acc_x": np.zeros(count // 8)}), file)
    return file.getvalue()


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("sense", "pack"),
    [
        ("depth", npz),
        ("thermal", npz),
        ("depth", matlab),
        ("thermal", matlab),
        ("imu", archive),
        ("imu", parquet),
    ],
)
def test_files_that_unpack_to_more_than_is_read_are_refused(sense, pack, named):
    def leaf(data):
        return Leaf(Modality.parse(sense), Upload(data, "a.dat") if named else data)

    check_size(leaf(pack(FILL["small"])), LIMITS)
    large = pack(FILL["large"])
    assert len(large) < FILL["large"] / 50
    with pytest.raises(InputError, match=r"unpack.* at most 1,048,576 bytes"):
        check_size(leaf(large), LIMITS)


@pytest.mark.parametrize("pack", [npz, matlab, archive, parquet])
def test_damaged_files_are_left_to_their_reader(pack):
    data = pack(FILL["large"])
    for end in (4, 130, len(data) // 2):
        check_size(Leaf(Modality.DEPTH, data[:end]), LIMITS)


def test_a_bomb_disturbs_no_other_item(client):
    body = {"input": ["a dog", {"depth": encoded(npz(70_000_000))}], "on_error": "skip"}
    answer = client.post("/v1/embeddings", json=body).json()
    assert [row["index"] for row in answer["data"]] == [0]
    assert "at most 67,108,864 bytes once unpacked" in answer["errors"][0]["message"]

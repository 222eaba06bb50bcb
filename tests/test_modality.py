import pytest

from bindplug import Modality
from bindplug.errors import UnknownModality
from bindplug.modality import TOWERS, towers_of


def test_members_are_their_names():
    assert [str(m) for m in Modality] == ["image", "video", "text", "audio", "depth", "thermal", "imu"]
    assert Modality.AUDIO == "audio"
    assert Modality.parse("imu") is Modality.parse(Modality.IMU) is Modality.IMU


@pytest.mark.parametrize("name", ["smell", "Audio", None, 3])
def test_other_names_are_refused_with_the_known_ones(name):
    with pytest.raises(UnknownModality, match="image, video, text, audio, depth, thermal, imu") as caught:
        Modality.parse(name)
    assert isinstance(caught.value, LookupError)


def test_every_modality_has_a_tower_and_every_tower_a_modality():
    assert {m.tower for m in Modality} == set(TOWERS)
    assert Modality.VIDEO.tower == Modality.IMAGE.tower == "vision"


def test_towers_of_keeps_the_checkpoints_order():
    assert towers_of(None) == TOWERS
    assert towers_of({"imu", "video", "image"}) == towers_of(["vision", "imu"]) == ("vision", "imu")
    assert towers_of("audio") == ("audio",)
    with pytest.raises(UnknownModality):
        towers_of({"smell"})

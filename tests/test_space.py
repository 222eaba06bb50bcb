import pytest

from bindplug.errors import SpaceMismatch
from bindplug.space import IMAGEBIND_SPACE, EmbeddingSpace

B32 = EmbeddingSpace("open_clip:ViT-B-32:laion2b", 512)


def test_a_space_matches_itself_and_its_fingerprinted_self():
    marked = EmbeddingSpace(B32.name, 512, fingerprint="aa")
    assert B32.matches(B32)
    assert B32.matches(marked)
    assert marked.matches(B32)


@pytest.mark.parametrize(
    "other",
    [EmbeddingSpace("another", 512), EmbeddingSpace(B32.name, 640), EmbeddingSpace(B32.name, 512, "bb")],
)
def test_a_differing_name_width_or_fingerprint_does_not_match(other):
    assert not EmbeddingSpace(B32.name, 512, "aa").matches(other)


def test_ensure_names_both_spaces_and_the_bridge():
    B32.ensure(B32)
    with pytest.raises(SpaceMismatch, match="bridge from") as caught:
        B32.ensure(IMAGEBIND_SPACE, doing="the detector")
    message = str(caught.value)
    assert message.startswith("the detector")
    assert B32.name in message
    assert IMAGEBIND_SPACE.name in message
    assert isinstance(caught.value, ValueError)


def test_imagebinds_space_is_the_published_one():
    assert EmbeddingSpace("open_clip:ViT-H-14:laion2b_s32b_b79k", 1024) == IMAGEBIND_SPACE

"""Which encoder made rows, and what was done to them since: recognized, refused, and never confused."""

import numpy as np
import pytest

from bindplug.errors import InputError
from bindplug_search.adopt import Candidate
from bindplug_search.adopt.statistics import binomial_tail, fewest_agreeing
from tests.search.adopt_world import COUNT, MODELS, RememberingEncoder, rotation, variants

TINY, FOREIGN = MODELS
EXPECTED = {  # variant: number format, transform, part of a remark
    "float32": ("float", "none", None),
    "float64": ("float", "none", None),
    "float16": ("float16", "none", "quantized: float16"),
    "scaled": ("float", "none", "scaled: all have length 17.5"),
    "unnormalized": ("float", "none", "unnormalized"),
    "int8": ("int8", "none", "quantized: int8"),
    "uint8": ("uint8", "none", "quantized: uint8"),
    "int8 by dimension": ("int8", "stretched", "a scale and an offset of its own"),
    "signs": ("signs", "none", "one sign a dimension"),
    "bits": ("bits", "none", "packed bits (big-endian)"),
    "bits as int8": ("bits", "none", "packed bits (big-endian)"),
    "bits, little-endian": ("bits", "none", "packed bits (little-endian)"),
    "rotated": ("float", "rotated", "rotated by a fixed orthogonal matrix"),
    "permuted": ("float", "selected", "dimensions are permuted"),
    "truncated": ("float", "truncated", "the first 32 of 128 dimensions"),
    "padded": ("float", "padded", "padded with zeros from 128"),
    "standardized": ("float", "stretched", "a scale and an offset of its own"),
}


@pytest.mark.parametrize("variant", EXPECTED)
def test_an_encoders_rows_are_recognized_however_they_are_stored(adopt_world, variant):
    model = FOREIGN if variant == "rotated" else TINY  # whose 64 dimensions take fewer files
    rows = variants(adopt_world.rows[model])
    assert rows.keys() == EXPECTED.keys()
    result = adopt_world.identify(rows[variant]())
    number_format, transform, remark = EXPECTED[variant]
    assert (result.verdict, result.trial.encoder) == ("identified", model), result.reason
    assert (result.trial.number_format.name, result.trial.transform.kind) == (number_format, transform)
    if remark is None:
        assert result.remarks == ()
    else:
        assert any(remark in line for line in result.remarks), result.remarks
    assert f"{result.trial.agreement.count} of {result.trial.agreement.items} items agree" in result.reason


@pytest.mark.parametrize("variant", ["float32", "bits"])
def test_the_other_encoder_is_told_from_the_first(adopt_world, variant):
    result = adopt_world.identify(variants(adopt_world.rows[FOREIGN])[variant]())
    assert (result.verdict, result.trial.encoder) == ("identified", FOREIGN), result.reason
    others = [trial for trial in result.trials if trial.encoder == TINY]
    assert all(trial.agreement.count <= 1 for trial in others)


def test_a_rotation_comes_out_as_the_matrix_it_was(adopt_world):
    rows = adopt_world.rows[FOREIGN]
    result = adopt_world.identify(rows @ rotation(64))
    turned = result.trial.transform.of_encoder(rows)
    np.testing.assert_allclose(turned, rows @ rotation(64), atol=2e-3)
    assert result.trial.agreement.items == COUNT // 2  # judged on the half that it was not fitted on


def test_too_few_files_for_a_rotation_are_told(adopt_world):
    few = adopt_world.rows[TINY].copy()
    few[60:] = np.nan
    result = adopt_world.identify(few @ rotation(128))
    assert result.verdict == "rotation undetermined"
    assert "60 files do not determine it" in result.reason
    assert "Some 512 files would be needed" in result.reason


@pytest.mark.parametrize(
    ("shift", "words"), [(1, "most of them 1 row later"), (-3, "most of them 3 rows earlier")]
)
def test_rows_and_paths_that_are_shifted(adopt_world, shift, words):
    result = adopt_world.identify(np.roll(adopt_world.rows[TINY], shift, axis=0))
    assert result.verdict == "out of step"
    assert words in result.reason


def test_rows_and_paths_that_are_shuffled_in_part(adopt_world):
    rows = adopt_world.rows[TINY].copy()
    rows[80:] = np.roll(rows[80:], 37, axis=0)
    result = adopt_world.identify(rows)
    assert result.verdict == "out of step"
    assert "items agree with imagebind_tiny. Of the others" in result.reason


def test_rows_of_several_models(adopt_world):
    other = RememberingEncoder(adopt_world.models[TINY], rotation(128, 5), "test:other")
    rows = np.where(
        (np.arange(COUNT) % 3 == 0)[:, None],
        adopt_world.rows[TINY] @ rotation(128, 5),
        adopt_world.rows[TINY],
    )
    candidates = [*adopt_world.candidates, Candidate("other", lambda modalities: other)]
    result = adopt_world.identify(rows, candidates, items=24)
    assert result.verdict == "mixed"
    assert "from imagebind_tiny" in result.reason
    assert "from other, 0 from none of them" in result.reason


def test_files_that_changed_since(adopt_world):
    rows = adopt_world.rows[TINY].copy()
    rows[::3] = np.random.default_rng(0).standard_normal(rows[::3].shape)
    result = adopt_world.identify(rows)
    assert result.verdict == "partly"
    assert "may have changed since" in result.reason


def test_a_file_or_two_may_have_changed_and_is_named(adopt_world):
    rows = adopt_world.rows[TINY].copy()
    sampled = np.random.default_rng(0).permutation(COUNT)[:2]  # the order in which items are chosen
    rows[sampled] = np.random.default_rng(0).standard_normal((2, 128))
    result = adopt_world.identify(rows)
    assert result.verdict == "identified"
    (remark,) = (line for line in result.remarks if "do not agree at all" in line)
    assert all(adopt_world.names[position] in remark for position in sampled)


def test_rows_of_nobody(adopt_world):
    result = adopt_world.identify(np.random.default_rng(0).standard_normal((COUNT, 128)).astype(np.float32))
    assert result.verdict == "not identified"
    assert result.trial.agreement.count == 0
    assert "no encoder at hand made the rows" in result.reason


def test_another_clip_of_the_same_pictures_is_nobody(adopt_world):
    """Two CLIPs see likeness in the same pictures; that is neither identity nor a rotation."""
    result = adopt_world.identify(adopt_world.rows[FOREIGN], [adopt_world.candidates[0]])
    assert result.verdict == "not identified"


def test_a_fine_tuned_copy_is_near_and_not_accepted(adopt_world):
    noise = np.random.default_rng(0).standard_normal((COUNT, 128)).astype(np.float32) / np.sqrt(128)
    result = adopt_world.identify(adopt_world.rows[TINY] + 0.45 * noise)
    assert result.verdict == "near"
    assert "near imagebind_tiny's and not its own" in result.reason


def test_pictures_that_were_squashed_instead_of_cropped(adopt_world):
    from bindplug_search.adopt.samples import squashed

    items = [
        type("I", (), {"position": 0, "path": "", "modality": "image", "query": q})()
        for q in adopt_world.queries[:60]
    ]
    rows = np.full((COUNT, 128), np.nan, dtype=np.float32)
    rows[:60] = adopt_world.models[TINY].embed([item.query for item in squashed(items)]).numpy()
    result = adopt_world.identify(rows)
    assert result.verdict == "identified"
    assert any("squashed to a square" in line for line in result.remarks)
    assert any("90 rows have no direction" in line for line in result.remarks)


def test_one_picture_many_times_identifies_nothing(adopt_world, tmp_path):
    picture = (adopt_world.pictures / "000.png").read_bytes()
    for index in range(20):
        (tmp_path / f"{index}.png").write_bytes(picture)
    (tmp_path / "paths.txt").write_text("\n".join(f"{index}.png" for index in range(20)))
    np.save(tmp_path / "rows.npy", np.repeat(adopt_world.rows[TINY][:1], 20, axis=0))
    from bindplug_search.adopt import identify, open_rows
    from bindplug_search.adopt.samples import choose_root

    file = open_rows(tmp_path / "rows.npy", paths=str(tmp_path / "paths.txt"))
    result = identify(file, adopt_world.candidates, choose_root(file, None), progress=False)
    assert result.verdict == "too alike"
    assert any("19 rows equal an earlier row exactly" in line for line in result.remarks)


def test_five_files_prove_too_little(adopt_world):
    rows = adopt_world.rows[TINY].copy()
    rows[3:] = 0.0
    result = adopt_world.identify(rows)
    assert result.verdict == "not identified"
    assert "only 3 files could be read, which proves little" in result.reason


def test_files_that_are_not_here(adopt_world, tmp_path):
    from bindplug_search.adopt import identify, open_rows
    from bindplug_search.adopt.samples import choose_root

    (tmp_path / "paths.txt").write_text("\n".join(f"gone/{index}.png" for index in range(COUNT)))
    np.save(tmp_path / "rows.npy", adopt_world.rows[TINY])
    file = open_rows(tmp_path / "rows.npy", paths=str(tmp_path / "paths.txt"))
    with pytest.raises(InputError, match="no file that is here") as error:
        identify(file, adopt_world.candidates, choose_root(file, None), progress=False)
    assert "--root DIR" in error.value.remedy


def test_the_binomial_tail_is_right():
    assert binomial_tail(10, 0, 0.3) == 1.0
    assert binomial_tail(2, 1, 0.5) == pytest.approx(0.75)
    assert binomial_tail(3, 3, 0.1) == pytest.approx(1e-3)
    assert fewest_agreeing(50) == 37


def test_a_thousand_unrelated_files_are_never_identified(adopt_world):
    """The error probability holds: random rows, in small samples, against an encoder's rows."""
    from bindplug_search.adopt.statistics import compare

    own = adopt_world.rows[TINY][:12]
    generator = np.random.default_rng(0)
    for _ in range(1000):
        agreement = compare(own[generator.permutation(12)] + generator.standard_normal(own.shape), own, 0.3)
        assert not agreement.significant(1)

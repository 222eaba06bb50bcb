"""The toy CLAP's recipe: its processor, its augmentation, and a smoke run of it all."""

import json

import pytest
import torch

pytest.importorskip("transformers")
from recipes import clap


def test_the_processor_reads_any_text_and_the_captions_in_few_tokens():
    captions = [["a red dog on the left", "a dog."], ["a cat at night", "the cat."]] * 20
    processor = clap.build_processor(captions, 300)
    tokenizer = processor.tokenizer
    assert len(tokenizer) <= 300
    ids = tokenizer(["a dog.", "naïve 犬"], padding=True)["input_ids"]
    assert tokenizer.decode(ids[1], skip_special_tokens=True) == "naïve 犬"
    assert len([token for token in ids[0] if token != tokenizer.pad_token_id]) < 8
    assert tokenizer.unk_token_id not in ids[1]


def test_spectrograms_are_varied_without_leaving_their_range():
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(8, 1, 251, 64, generator=draw) * 14 - 27
    varied = clap.varied(features, torch.Generator().manual_seed(1))
    assert varied.shape == features.shape
    assert torch.equal(varied, clap.varied(features, torch.Generator().manual_seed(1)))
    assert not torch.allclose(varied, features)
    assert varied.min() >= features.min() - 6
    assert varied.max() <= features.max() + 6


@pytest.mark.slow
def test_a_smoke_run_writes_everything(tmp_path):
    clap.main(["--smoke", "--workspace", str(tmp_path), "--threads", "1", "--quiet"])
    directory = tmp_path / "smoke" / "weights" / "toy_clap"
    assert {"model.safetensors", "card.json", "README.md", "training.log", "tokenizer.json"} <= {
        file.name for file in directory.iterdir()
    }
    card = json.loads((directory / "card.json").read_text())
    assert card["evaluation"]["audio -> text"]["count"] == 40
    assert card["training"]["loss_of_chance"] == pytest.approx(2.0794)

"""Embedding from several threads with one model."""

import threading

import torch
from torch import nn

from bindplug import text
from bindplug.evaluation_mode import evaluating
from bindplug.imagebind import ImageBind
from bindplug.testing import FakeEncoder
from tests.small import SMALL


class Watched(FakeEncoder, nn.Module):
    """An encoder that notes whether it is in training mode after another thread has come and gone."""

    def __init__(self):
        nn.Module.__init__(self)
        FakeEncoder.__init__(self)
        self.inner = nn.Dropout()
        self.entered, self.proceed = threading.Event(), threading.Event()
        self.modes = []

    def encode(self, modality, x, normalize=False):
        if threading.current_thread().name == "first":
            self.entered.set()
            assert self.proceed.wait(30)
        self.modes.append((self.training, self.inner.training))
        return super().encode(modality, x, normalize)


def test_a_thread_that_leaves_does_not_switch_training_mode_on_under_another():
    model = Watched().train()
    first = threading.Thread(target=lambda: model.embed([text("a")]), name="first")
    first.start()
    assert model.entered.wait(30)
    model.embed([text("b")])
    assert not model.training
    model.proceed.set()
    first.join(30)
    assert model.modes == [(False, False), (False, False)]
    assert model.training
    assert model.inner.training


def test_rows_of_a_model_in_training_mode_are_the_same_from_many_threads():
    torch.manual_seed(0)
    model = ImageBind(SMALL, modalities={"text"})
    queries = [text(f"a picture of thing {i}") for i in range(6)]
    expected = model.eval().embed(queries, progress=False)
    model.train()
    rows = []

    def run():
        for _ in range(4):
            rows.append(model.embed(queries, batch_size=2, progress=False))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(rows) == 24
    assert all(torch.allclose(one, expected, atol=1e-5) for one in rows)
    assert all(module.training for module in model.modules())


def test_only_what_was_training_is_set_back_and_errors_set_it_back_too():
    model = nn.Sequential(nn.Dropout(), nn.Linear(2, 2).eval())
    model.train()
    model[1].eval()
    for _ in range(2):
        try:
            with evaluating(model):
                assert not any(module.training for module in model.modules())
                raise KeyError
        except KeyError:
            pass
    assert [module.training for module in model.modules()] == [True, True, False]
    with evaluating("no module"):
        pass


def test_models_that_share_a_tower_leave_it_in_evaluation_mode_for_each_other():
    tower = nn.Dropout()
    first, second = nn.Sequential(tower).train(), nn.Sequential(tower, nn.Dropout().eval())
    outlasting = evaluating(second)
    with evaluating(first):
        outlasting.__enter__()
    assert not tower.training, "the second model is still in use"
    assert first.training
    outlasting.__exit__(None, None, None)
    assert [module.training for module in (first, second, tower, second[1])] == [True, True, True, False]

"""The networks give what the original gave with the same weights."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from bindplug_detic.checkpoint import network_from_official
from bindplug_detic.network import DeticNetwork
from tests.detic import network_checks as checks
from tests.detic.golden import Golden, keys, load_golden, load_reference, official_state

RUNS = ("custom_all", "single", "custom_resized")
ALL_RUNS = (*RUNS, "lvis_all", "lvis_one")


@dataclass
class Case:
    """A network, its golden arrays, and its way to the proposals of both inputs."""

    network: DeticNetwork
    golden: Golden
    sweeps: dict[str, checks.Sweep]


def build(golden: Golden, state: dict[str, torch.Tensor]) -> Case:
    network = network_from_official(state)
    return Case(network, golden, {name: checks.sweep(network, golden, name) for name in checks.SWEEPS})


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return official_state("r50")


@pytest.fixture(scope="module")
def resnet(state: dict[str, torch.Tensor]) -> Case:
    return build(load_golden(), state)


def sweep_of(run: str) -> str:
    return "resized" if run == "custom_resized" else "native"


def test_the_rule_fills_as_recorded(state: dict[str, torch.Tensor]) -> None:
    entries = {name: entry for name, entry in keys("r50").items() if "fill" in entry}
    small = [name for name, entry in entries.items() if 64 < torch.Size(entry["shape"]).numel() < 40000]
    assert len(small) > 200
    for name in small:
        assert float(state[name].abs().mean()) == pytest.approx(entries[name]["abs_mean"], rel=1e-5), name


@pytest.mark.parametrize("name", checks.SWEEPS)
def test_features(resnet: Case, name: str) -> None:
    checks.check_features(resnet.golden, name, resnet.sweeps[name])


@pytest.mark.parametrize("name", checks.SWEEPS)
def test_proposals(resnet: Case, name: str) -> None:
    checks.check_proposals(resnet.network, resnet.golden, name, resnet.sweeps[name])


def test_regions(resnet: Case) -> None:
    checks.check_regions(resnet.network, resnet.golden, resnet.sweeps["native"])


@pytest.mark.parametrize("run", RUNS)
def test_cascade_stages(resnet: Case, run: str) -> None:
    checks.check_stages(resnet.network, resnet.golden, run, resnet.sweeps[sweep_of(run)])


@pytest.mark.parametrize("run", RUNS)
def test_detections(resnet: Case, run: str) -> None:
    checks.check_detections(resnet.network, resnet.golden, run, resnet.sweeps[sweep_of(run)])


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["r50", "swinb"])
def test_every_reference_array(variant: str) -> None:
    case = build(load_reference(variant), official_state(variant))
    for name, sweep in case.sweeps.items():
        checks.check_features(case.golden, name, sweep)
        checks.check_proposals(case.network, case.golden, name, sweep)
    checks.check_regions(case.network, case.golden, case.sweeps["native"])
    for run in ALL_RUNS:
        checks.check_stages(case.network, case.golden, run, case.sweeps[sweep_of(run)])
        checks.check_detections(case.network, case.golden, run, case.sweeps[sweep_of(run)])

"""The rate of each step: by hand, and beside PyTorch's schedulers."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings as limits, strategies as st

from densenet_tools.training import Settings
from densenet_tools.training.schedule import rate
from tests.support import require

FLOAT32 = 1e-7  # relative, of rounding to it


def rates(steps_per_epoch: int, **fields) -> list[float]:
    """That of every step of a run."""
    settings = Settings(**{"learning_rate": 1.0} | fields)
    return [rate(settings, step, steps_per_epoch) for step in range(settings.epochs * steps_per_epoch)]


BY_HAND = {
    "constant": ({"epochs": 2, "schedule": "constant", "learning_rate": 0.3}, 2, [0.3] * 4),
    # The paper's, as the defaults have it: divided by 10 at 50% and 75% of the epochs.
    "step": ({"epochs": 4}, 3, [1] * 6 + [0.1] * 3 + [0.01] * 3),
    "between steps": ({"epochs": 1, "milestones": [0.5]}, 5, [1, 1, 1, 0.1, 0.1]),
    "no milestone": ({"epochs": 2, "milestones": []}, 2, [1] * 4),
    "milestones at one step": ({"epochs": 1, "milestones": [0.5, 0.5]}, 4, [1, 1, 0.01, 0.01]),
    "warm-up": ({"epochs": 2, "warmup": 1.0, "schedule": "constant"}, 4, [0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1]),
    "warm-up of half an epoch": ({"epochs": 1, "warmup": 0.5, "schedule": "constant"}, 4, [1 / 3, 2 / 3, 1, 1]),
    "warm-up to the end": ({"epochs": 1, "warmup": 1.0}, 3, [0.25, 0.5, 0.75]),
    "warm-up over a milestone": ({"epochs": 1, "warmup": 0.75, "milestones": [0.5]}, 4, [0.25, 0.5, 0.75, 0.1]),
    "cosine": ({"epochs": 2, "schedule": "cosine"}, 2, [1, (1 + sqrt(0.5)) / 2, 0.5, (1 - sqrt(0.5)) / 2]),
    "cosine after a warm-up": ({"epochs": 3, "warmup": 1.0, "schedule": "cosine"}, 1, [0.5, 1, 0.5]),
    # A rise of three steps from 1/25, whose middle is 0.52; then four more down to 1/250,000, whose middle is 0.500002.
    "one-cycle": (
        {"epochs": 7, "warmup": 3.0, "schedule": "one-cycle"},
        1,
        [0.04, 0.52, 1, 0.85355397637971, 0.500002, 0.14645002362029, 4e-6],
    ),
    "a rise of one step": ({"epochs": 3, "warmup": 1.0, "schedule": "one-cycle"}, 1, [1, 0.500002, 4e-6]),
    "no more than a rise": ({"epochs": 3, "warmup": 3.0, "schedule": "one-cycle"}, 1, [0.04, 0.52, 1]),
    **{f"one step, {name}": ({"epochs": 1, "schedule": name}, 1, [1]) for name in ("constant", "step", "cosine")},
    "one step, one-cycle": ({"epochs": 1, "schedule": "one-cycle"}, 1, [1]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_rates_are_those_counted_by_hand(name):
    fields, steps_per_epoch, expected = BY_HAND[name]
    assert rates(steps_per_epoch, **fields) == pytest.approx(expected, rel=FLOAT32)


def test_a_milestone_is_met_on_its_step():
    """0.07 * 100 is 7.000000000000001, and 0.29 * 100 is 28.999999999999996."""
    for share, first in ((0.07, 7), (0.29, 29), (0.57, 57)):
        found = rates(100, epochs=1, milestones=[share])
        assert (found.index(min(found)), found[first - 1]) == (first, 1)


PEERS = {
    "step": lambda torch, optimizer, steps: torch.MultiStepLR(optimizer, [steps // 2, steps * 3 // 4]),
    "cosine": lambda torch, optimizer, steps: torch.CosineAnnealingLR(optimizer, steps),
    "one-cycle": lambda torch, optimizer, steps: torch.OneCycleLR(
        optimizer,
        max_lr=0.1,
        total_steps=steps,
        pct_start=0.3,
        div_factor=25,
        final_div_factor=1e4,
        three_phase=False,
        cycle_momentum=False,
    ),
}


def peer(make, steps: int) -> list[float]:
    """The rates that a scheduler of PyTorch gives, stepped after each step."""
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler, found = make(torch.optim.lr_scheduler, optimizer, steps), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("steps", [4, 20, 32, 100])
def test_rates_are_those_of_pytorch(name, steps):
    require("torch")
    found = rates(steps, epochs=1, schedule=name, learning_rate=0.1)
    assert found == pytest.approx(peer(PEERS[name], steps), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("steps", [5, 6, 10, 33])
def test_a_cycle_whose_top_lies_between_two_steps_is_pytorchs_too(steps):
    require("torch")
    found = rates(steps, epochs=1, schedule="one-cycle", learning_rate=0.1)
    assert found == pytest.approx(peer(PEERS["one-cycle"], steps), rel=1e-6)


def test_a_warm_up_is_pytorchs_too():
    """LinearLR, then the other one, from its beginning on."""
    require("torch")

    def warmed(torch, optimizer, steps):
        parts = [torch.LinearLR(optimizer, 1 / 6, total_iters=5), torch.CosineAnnealingLR(optimizer, steps - 5)]
        return torch.SequentialLR(optimizer, parts, milestones=[5])

    found = rates(20, epochs=1, warmup=0.25, schedule="cosine", learning_rate=0.1)
    assert found == pytest.approx(peer(warmed, 20), rel=1e-6)


def test_the_rise_of_a_cycle_is_pytorchs_too():
    """pct_start is the share of it."""
    require("torch")

    def cycle(torch, optimizer, steps):
        return torch.OneCycleLR(optimizer, 0.1, steps, pct_start=0.1, cycle_momentum=False)

    found = rates(10, epochs=5, warmup=0.5, schedule="one-cycle", learning_rate=0.1)
    assert found == pytest.approx(peer(cycle, 50), rel=1e-6)


@st.composite
def runs(draw) -> tuple[Settings, int]:
    epochs = draw(st.integers(1, 12))
    fields = {
        "epochs": epochs,
        "schedule": draw(st.sampled_from(["constant", "step", "cosine", "one-cycle"])),
        "learning_rate": draw(st.floats(0, 1e9, exclude_min=True)),
        "warmup": draw(st.just(0.0) | st.floats(0, epochs) | st.integers(0, epochs)),
        "milestones": sorted(draw(st.lists(st.floats(0, 1, exclude_min=True, exclude_max=True), max_size=50))),
    }
    return Settings(**fields), draw(st.integers(1, 20))


@given(runs())
@limits(max_examples=150, deadline=None)
def test_a_rate_is_a_float32_above_0_and_never_above_the_largest(run):
    settings, steps_per_epoch = run
    largest = max(np.float32(settings.learning_rate), np.finfo(np.float32).tiny)
    for step in range(settings.epochs * steps_per_epoch):
        found = rate(settings, step, steps_per_epoch)
        assert 0 < found <= largest
        assert found == np.float32(found)


@given(runs())
@limits(max_examples=150, deadline=None)
def test_a_rate_rises_first_and_then_falls(run):
    settings, steps_per_epoch = run
    found = [rate(settings, step, steps_per_epoch) for step in range(settings.epochs * steps_per_epoch)]
    top = found.index(max(found))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)

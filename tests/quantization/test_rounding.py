import pytest
import torch

from edgessd.quantization.rounding import on_grid, symmetric_scale


def test_scale_puts_the_largest_magnitude_of_each_channel_on_127():
    weight = torch.tensor([[[[1.0, -2.54]]], [[[0.0, 0.0]]]])
    scale = symmetric_scale(weight)
    assert scale[0].item() == pytest.approx(0.02)
    assert scale[1] > 0  # an empty channel must not divide by zero


@pytest.mark.parametrize("keep_sum", [False, True])
def test_every_value_is_a_multiple_within_the_range_and_at_most_one_step_away(keep_sum):
    weight = torch.randn(64, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    scale = symmetric_scale(weight)
    steps = on_grid(weight, scale, keep_sum=keep_sum) / scale.reshape(-1, 1, 1, 1)
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    assert steps.abs().max() <= 127.001
    assert (steps - weight / scale.reshape(-1, 1, 1, 1)).abs().max() <= 1.001


def test_an_edge_detector_keeps_its_sum():
    """The kernel of the worked example: plain rounding turns a sum of 0 into a sum of -2 steps."""
    kernel = torch.tensor([1.27, -0.634, -0.634, -0.002]).reshape(1, 1, 2, 2)
    scale = symmetric_scale(kernel)
    plain, kept = (on_grid(kernel, scale, keep_sum=keep) / scale for keep in (False, True))
    assert round(plain.sum().item()) == 1
    assert round(kept.sum().item()) == round((kernel / scale).sum().item()) == 0
    assert kept.flatten()[0].item() == pytest.approx(127)  # the largest tap defines the grid and stays


def test_sums_of_random_kernels_are_nearer_than_by_plain_rounding():
    weight = torch.randn(256, 1, 3, 3, generator=torch.Generator().manual_seed(1))
    scale = symmetric_scale(weight)

    def error(keep):
        return ((on_grid(weight, scale, keep_sum=keep) - weight).sum((1, 2, 3)) / scale).abs()

    assert error(True).max() <= 0.51
    assert error(False).mean() > 2 * error(True).mean()


def test_what_lies_on_the_grid_stays_there():
    weight = torch.randn(32, 1, 3, 3, generator=torch.Generator().manual_seed(2))
    once = on_grid(weight, symmetric_scale(weight), keep_sum=True)
    again = on_grid(once, symmetric_scale(once), keep_sum=False)
    assert torch.allclose(once, again, atol=1e-6)

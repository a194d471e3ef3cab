import pytest
import torch

from edgessd.quantization import prepare_network, pt2e
from edgessd.quantization.equalization import _groups, _largest, equalize

from .conftest import small_model


def prepared(backbone, head="ssdlite"):
    model, spec = small_model(backbone, head)
    return prepare_network(model, spec)


@pytest.mark.parametrize(("backbone", "least"), [("timm:mobilenetv2_035", 7), ("timm:resnet10t", 4)])
def test_equalising_leaves_the_function_and_makes_the_ranges_equal(backbone, least):
    graph = prepared(backbone).graph
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 160, 160, generator=generator) * 2 - 1
    with torch.no_grad():
        before = [each.clone() for each in graph(x)]
        assert len(_groups(graph)) >= least
        factors = equalize(graph, [x])
        assert len(factors) > 2 * least
        after = graph(x)
    for mine, expected in zip(after, before, strict=True):
        assert torch.allclose(mine, expected, atol=1e-4 * float(expected.abs().max()))
    for group in _groups(graph):
        largest = _largest(graph, set(group.members), [x])
        ranges = torch.stack(list(largest.values())).amax(dim=0)
        # Channels that are dead behind their ReLU, or hardly speak, are not blown up without end.
        assert torch.isclose(ranges[ranges > 0], ranges.max(), rtol=1e-3).float().mean() > 0.9


def test_activations_that_other_operators_read_are_left_alone():
    """Hard-swish is not homogeneous: what feeds it must keep its scale."""
    graph = prepared("timm:mobilenetv3_small_050").graph
    for group in _groups(graph):
        for node in group.members:
            for user in pt2e.users(graph, node):
                assert user in group.members or user in group.readers


def test_shared_weights_are_left_alone():
    graph = prepared("timm:mobilenetv2_035").graph
    group = _groups(graph)[0]
    reader = group.readers[0]
    twin = next(
        node for node in graph.graph.nodes if node.target == reader.target and node not in (reader, *group.members)
    )
    twin.args = (twin.args[0], reader.args[1], *twin.args[2:])
    assert all(reader not in each.readers for each in _groups(graph))

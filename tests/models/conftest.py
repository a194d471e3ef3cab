import pytest
import torch
from torch import nn

from edgessd._torchvision import torchvision

SIZES = {"ssd300_vgg16": 300, "ssdlite320_mobilenet_v3_large": 320}


def randomized(name: str) -> nn.Module:
    """torchvision's detector with seeded weights and batch norm statistics; its outputs are of the order of one."""
    torch.manual_seed(0)
    model = getattr(torchvision.models.detection, name)(weights=None, weights_backbone=None).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1, generator=generator)
                # small variances keep the signal alive through a network of small random weights
                module.running_var.uniform_(0.001, 0.1, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
    return model


@pytest.fixture(scope="session")
def torchvision_models() -> dict[str, nn.Module]:
    return {name: randomized(name) for name in SIZES}


@pytest.fixture(scope="session", params=list(SIZES))
def detector(request, torchvision_models) -> tuple[str, int, nn.Module]:
    """(name, side of the input, torchvision's detector)."""
    return request.param, SIZES[request.param], torchvision_models[request.param]

import numpy as np
import pytest
import torch

from edgessd._cv2 import cv2
from edgessd.models import create_model


def small_model(backbone="timm:mobilenetv2_035", head="ssdlite", size=160, classes=("cup", "cat"), **options):
    """A network with random weights that behaves like a trained one: small errors stay small.

    Random depthwise kernels take the difference of neighbours, which is mostly noise in a smooth map, and each layer
    makes it larger. Kernels that average, as many trained ones do, keep what is in the map.
    """
    torch.manual_seed(0)
    model, spec = create_model(head, backbone=backbone, size=size, classes=classes, receptive_fields=False, **options)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d) and module.groups == module.in_channels > 3:
                kernel = module.weight
                kernel.copy_(1 / kernel[0].numel() + 0.05 * torch.randn_like(kernel))
    return model.eval(), spec


@pytest.fixture(scope="session")
def small():
    return small_model()


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory):
    """Pictures with shapes in them: flat areas, edges and noise, as photographs have."""
    folder = tmp_path_factory.mktemp("calibration")
    rng = np.random.default_rng(0)
    for number in range(12):
        image = np.full((120, 160, 3), rng.integers(0, 256, 3), np.uint8)
        for _ in range(6):
            x, y = rng.integers(0, 160), rng.integers(0, 120)
            color = tuple(int(c) for c in rng.integers(0, 256, 3))
            cv2.rectangle(image, (int(x), int(y)), (int(x) + 40, int(y) + 30), color, -1)
        noise = rng.normal(0, 8, image.shape)
        cv2.imwrite(str(folder / f"{number:02}.png"), np.clip(image + noise, 0, 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="session")
def quantized(small, picture_folder):
    from edgessd.quantization import calibrate, calibration_pictures, prepare_network

    network = prepare_network(*small)
    calibrate(network, calibration_pictures(picture_folder))
    return network

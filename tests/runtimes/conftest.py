import pytest


@pytest.fixture
def checkpoint(tmp_path):
    """The path of a small network with random weights. Made when it is asked for: it needs torch."""

    def make():
        torch = pytest.importorskip("torch")
        from edgessd.models import create_model, save_checkpoint

        torch.manual_seed(0)
        pair = create_model(
            "ssdlite", backbone="timm:mobilenetv3_small_050", size=160, classes=("a", "b"), receptive_fields=False
        )
        save_checkpoint(tmp_path / "model.safetensors", *pair)
        return str(tmp_path / "model.safetensors")

    return make

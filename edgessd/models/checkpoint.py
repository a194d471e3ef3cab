"""Checkpoints: a safetensors file with the model's spec in its header. Nothing is ever unpickled."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from edgessd.errors import InputError, ModelError, SpecError
from edgessd.io.files import atomic_write
from edgessd.models.ssd import SSD, build_ssd
from edgessd.spec import METADATA_KEY, ModelSpec


def save_checkpoint(path: str | os.PathLike[str], model: SSD, spec: ModelSpec) -> None:
    """Write the weights of `model` and its `spec` to `path`, whole or not at all.

    Raises ModelError where the file cannot be written.
    """
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
    try:
        with atomic_write(path) as temporary:
            save_file(tensors, temporary, metadata={METADATA_KEY: spec.to_json(), "format": "pt"})
    except (InputError, OSError, SafetensorError) as error:
        raise ModelError(f"cannot write the checkpoint {path}: {error}") from None


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[SSD, ModelSpec]:
    """Return the network, in evaluation mode, and the spec of a checkpoint.

    Raises ModelError for a file that is missing, truncated or of another kind or whose weights do not fit
    its spec, SpecError where it has no spec or one that cannot be read.
    """
    from edgessd.models.weights import load_strictly

    spec, tensors = _read(path)
    model = build_ssd(spec)
    load_strictly(model, tensors, str(path))
    return model.eval(), spec


def _read(path: str | os.PathLike[str]) -> tuple[ModelSpec, dict[str, torch.Tensor]]:
    file = Path(path)
    if not file.is_file():
        raise ModelError(f"no such checkpoint: {file}")
    try:
        with safe_open(str(file), framework="pt") as reader:
            metadata = reader.metadata() or {}
            tensors = {key: reader.get_tensor(key) for key in reader.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{file} is not a whole safetensors file: {error}") from None
    if METADATA_KEY not in metadata:
        raise SpecError(
            f"{file} has no '{METADATA_KEY}' in its header, so it is not a checkpoint of edgessd: "
            "load foreign weights with edgessd.models.weights"
        )
    return ModelSpec.from_json(metadata[METADATA_KEY]), tensors

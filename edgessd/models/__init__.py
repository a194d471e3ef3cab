"""The networks: backbone, extra levels and heads put together, their presets, weights and checkpoints."""

from edgessd.models.checkpoint import load_checkpoint, save_checkpoint
from edgessd.models.presets import PRESETS, create_model
from edgessd.models.ssd import SSD, build_ssd

__all__ = ["PRESETS", "SSD", "build_ssd", "create_model", "load_checkpoint", "save_checkpoint"]

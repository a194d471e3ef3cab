"""Backbones: networks that turn pictures into feature maps, by name."""

from edgessd.backbones.base import Backbone, Normalization
from edgessd.backbones.registry import create_backbone, list_backbones, register_backbone

__all__ = ["Backbone", "Normalization", "create_backbone", "list_backbones", "register_backbone"]

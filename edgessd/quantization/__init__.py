"""Quantisation, and what goes before it."""

from edgessd.quantization.fold import fold_batch_norm

__all__ = ["fold_batch_norm"]

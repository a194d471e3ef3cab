"""Exporters: one file per format."""

from edgessd.export.onnx import export_onnx

__all__ = ["export_onnx"]

"""What a model file says about itself, read without an engine: spec, class names, tensors.

One small reader per format. Each takes bytes that may come from anywhere: it never leaves the file's bounds,
does an amount of work that the file's size limits, and raises nothing but ModelError.
"""

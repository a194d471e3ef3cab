"""Passes that make a graph shorter and leave its function as it is.

litert's converter turns a padded convolution of an integer network into TRANSPOSE, PAD, TRANSPOSE and a
convolution without padding. `fold_paddings` brings the padding to the convolution's own layout, and into the
convolution where it is TensorFlow's SAME.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgessd.export.tflite_file.editor import Editor, schema

_OPS = schema.BuiltinOperator
_CONVOLUTIONS = (_OPS.CONV_2D, _OPS.DEPTHWISE_CONV_2D)


def fold_paddings(data: bytes) -> bytes:
    """Return the file with its zero paddings folded into the convolutions behind them, as far as that is exact.

    A PAD between two transposes that undo each other is done in the outer layout; pairs of such transposes go;
    a PAD whose amounts are TensorFlow's SAME for the convolution behind it becomes that convolution's padding.
    What is not needed any more is removed. All results stay the same to the bit.
    """
    editor = Editor(data)
    while _move_paddings(editor) or _cancel_transposes(editor):
        pass
    _fold_into_convolutions(editor)
    _remove_dead(editor)
    return editor.to_bytes()


def remove_dead(data: bytes) -> bytes:
    """Return the file without operators, tensors and buffers that no output needs."""
    editor = Editor(data)
    _remove_dead(editor)
    return editor.to_bytes()


def _permutation(editor: Editor, operator: Any) -> list[int] | None:
    """The order of axes of a TRANSPOSE with constant order; None for anything else."""
    if operator is None or editor.kind(operator) != _OPS.TRANSPOSE:
        return None
    order = editor.constant_value(int(operator.inputs[1]))
    return None if order is None else [int(axis) for axis in order]


def _is_inverse(first: list[int], second: list[int]) -> bool:
    return [first[axis] for axis in second] == list(range(len(first)))


def _cancel_transposes(editor: Editor) -> bool:
    """Let readers of a transposed transpose read the original; whether anything changed."""
    made, changed = editor.producers(), False
    for operator in editor.operators:
        second = _permutation(editor, operator)
        before = made.get(int(operator.inputs[0])) if second is not None else None
        first = _permutation(editor, before)
        result = int(operator.outputs[0])
        if before is None or second is None or first is None or not _is_inverse(first, second):
            continue
        changed |= _replace(editor, result, int(before.inputs[0]))
    return changed


def _move_paddings(editor: Editor) -> bool:
    """Turn PAD between inverse transposes into a PAD of the outer layout; whether anything changed."""
    made = editor.producers()
    for place, operator in enumerate(editor.operators):
        second = _permutation(editor, operator)
        pad = made.get(int(operator.inputs[0])) if second is not None else None
        if second is None or pad is None or editor.kind(pad) != _OPS.PAD:
            continue
        before = made.get(int(pad.inputs[0]))
        first = _permutation(editor, before)
        amounts = editor.constant_value(int(pad.inputs[1]))
        if before is None or first is None or amounts is None or not _is_inverse(first, second):
            continue
        moved = editor.constant(f"{editor.name(int(pad.inputs[1]))}_outer", np.ascontiguousarray(amounts[second]))
        operator.opcodeIndex = pad.opcodeIndex
        operator.inputs = np.array([before.inputs[0], moved], np.int32)
        operator.builtinOptionsType, operator.builtinOptions = pad.builtinOptionsType, pad.builtinOptions
        editor.operators[place] = operator
        return True
    return False


def _fold_into_convolutions(editor: Editor) -> None:
    made = editor.producers()
    for operator in editor.operators:
        if editor.kind(operator) not in _CONVOLUTIONS or operator.builtinOptions.padding != schema.Padding.VALID:
            continue
        pad = made.get(int(operator.inputs[0]))
        if pad is None or editor.kind(pad) != _OPS.PAD:
            continue
        source, padded = int(pad.inputs[0]), int(pad.outputs[0])
        amounts = editor.constant_value(int(pad.inputs[1]))
        if amounts is None or not _same_values(editor, source, padded):
            continue
        if np.array_equal(amounts, _same_padding(editor, operator, editor.shape(source))):
            operator.inputs[0] = source
            operator.builtinOptions.padding = schema.Padding.SAME


def _same_values(editor: Editor, first: int, second: int) -> bool:
    """Whether two tensors have one type and one quantisation: PAD's zero is then the convolution's own."""
    if editor.dtype(first) != editor.dtype(second):
        return False
    return editor.dtype(first) == "float32" or editor.scale(first) == editor.scale(second)


def _same_padding(editor: Editor, convolution: Any, shape: tuple[int, ...]) -> Any:
    """The amounts [4, 2] of TensorFlow's SAME for a convolution over a tensor of `shape` (B, H, W, C)."""
    options = convolution.builtinOptions
    kernel = editor.shape(int(convolution.inputs[1]))[1:3]  # both kinds keep height and width here
    strides = (options.strideH, options.strideW)
    dilations = (options.dilationHFactor, options.dilationWFactor)
    amounts = np.zeros((4, 2), np.int64)
    for axis in range(2):
        size, stride = shape[1 + axis], strides[axis]
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        amounts[1 + axis] = total // 2, total - total // 2
    return amounts


def _replace(editor: Editor, old: int, new: int) -> bool:
    """Let every reader of tensor `old` read `new`; whether there was one."""
    changed = False
    for operator in editor.operators:
        places = np.asarray(operator.inputs) == old
        if places.any():
            operator.inputs = np.where(places, new, operator.inputs).astype(np.int32)
            changed = True
    return changed


def _remove_dead(editor: Editor) -> None:
    """Remove from the main graph what its outputs do not need; then codes and buffers that nothing names."""
    graph, model = editor.graph, editor.model
    needed = {int(index) for index in (*graph.inputs, *graph.outputs)}
    kept = []
    for operator in reversed(graph.operators):
        if needed & {int(index) for index in operator.outputs}:
            kept.append(operator)
            needed |= {int(index) for index in (*operator.inputs, *operator.outputs) if index >= 0}
            needed |= (
                {int(index) for index in operator.intermediates if index >= 0}
                if operator.intermediates is not None
                else set()
            )
    graph.operators = kept[::-1]

    order = sorted(needed)
    place = {old: new for new, old in enumerate(order)}
    graph.tensors = [graph.tensors[index] for index in order]
    graph.inputs, graph.outputs = _renumber(graph.inputs, place), _renumber(graph.outputs, place)
    for operator in graph.operators:
        for field in ("inputs", "outputs", "intermediates"):
            if getattr(operator, field) is not None:
                setattr(operator, field, _renumber(getattr(operator, field), place))
    for signature in model.signatureDefs or []:
        if signature.subgraphIndex == 0:
            for entry in (*signature.inputs, *signature.outputs):
                entry.tensorIndex = place[int(entry.tensorIndex)]

    codes = sorted({operator.opcodeIndex for each in model.subgraphs for operator in each.operators})
    model.operatorCodes = [model.operatorCodes[index] for index in codes]
    for each in model.subgraphs:
        for operator in each.operators:
            operator.opcodeIndex = codes.index(operator.opcodeIndex)

    # The first buffer is the empty one; metadata is named in two places.
    named = {0} | {tensor.buffer for each in model.subgraphs for tensor in each.tensors}
    named |= {entry.buffer for entry in model.metadata or []}
    named |= {int(index) for index in model.metadataBuffer} if model.metadataBuffer is not None else set()
    buffers = sorted(named)
    where = {old: new for new, old in enumerate(buffers)}
    model.buffers = [model.buffers[index] for index in buffers]
    for holder in (*(tensor for each in model.subgraphs for tensor in each.tensors), *(model.metadata or [])):
        holder.buffer = where[holder.buffer]
    if model.metadataBuffer is not None:
        model.metadataBuffer = _renumber(model.metadataBuffer, where)


def _renumber(indices: Any, place: dict[int, int]) -> Any:
    return np.array([place[int(index)] if index >= 0 else index for index in indices], np.int32)

"""Weights as MLX's own affine quantizer rounds them (affine_quantize in mlx/ops.cpp, 846d1762), scales in f16.

The step is the range over its number of steps. It is then changed so that the end of larger magnitude is a whole number
of steps from 0: that end is the offset, and 0 is kept. Codes are chosen before scale and offset are rounded.
"""
import numpy


def rounded(weights, bits, group):
    steps = numpy.float32(2 ** bits - 1)
    groups = weights.astype(numpy.float32).reshape(len(weights), -1, group)
    largest = groups.max(axis=-1, keepdims=True)
    smallest = groups.min(axis=-1, keepdims=True)
    from_below = abs(smallest) > abs(largest)
    end = numpy.where(from_below, smallest, largest)
    scale = numpy.maximum((largest - smallest) / steps, numpy.float32(1e-7))
    scale = numpy.where(from_below, scale, -scale)
    whole = numpy.rint(end / scale)
    none = whole == 0
    scale = numpy.where(none, scale, end / numpy.where(none, 1, whole))
    offset = numpy.where(none, numpy.float32(0), end)
    codes = numpy.clip(numpy.rint((groups - offset) / scale), 0, steps)
    scale, offset = (values.astype(numpy.float16).astype(numpy.float32) for values in (scale, offset))
    return (scale * codes + offset).reshape(weights.shape)

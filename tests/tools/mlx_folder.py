"""What MLX-LM makes of a model folder, by its own rules (mlx_lm/utils.py, mlx/ops.cpp).

Shares nothing with the writer: codes are read bit by bit from a row's stream of 32-bit words, and a
weight is scale * code + bias (E2M1 value * 2^(exponent - 127) in mxfp4).
"""

import glob
import json
import os

import numpy

DTYPES = {'F32': '<f4', 'F16': '<f2', 'U32': '<u4', 'U8': 'u1', 'BF16': '<u2'}
E2M1 = numpy.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], numpy.float32)


def read_safetensors(path):
    """{name: (dtype, array)}; bf16 as its bits."""
    with open(path, 'rb') as file:
        contents = file.read()
    length = int.from_bytes(contents[:8], 'little')
    tensors = {}
    for name, entry in json.loads(contents[8:8 + length]).items():
        if name == '__metadata__':
            continue
        begin, end = (8 + length + offset for offset in entry['data_offsets'])
        values = numpy.frombuffer(contents[begin:end], DTYPES[entry['dtype']])
        tensors[name] = (entry['dtype'], values.reshape(entry['shape']))
    return tensors


def floats(tensor):
    dtype, values = tensor
    assert dtype in ('F32', 'F16', 'BF16'), dtype
    if dtype == 'BF16':
        return (values.astype('<u4') << 16).view('<f4')
    return values.astype('<f4')


def codes_of(words, bits):
    """[rows, cols] of [rows, words]: a row is one stream of bits, the lowest of a word first."""
    rows = words.shape[0]
    stream = words[:, :, None] >> numpy.arange(32, dtype='<u4') & 1
    return (stream.reshape(rows, -1, bits) << numpy.arange(bits)).sum(axis=-1)


class MlxFolder:
    def __init__(self, folder):
        with open(os.path.join(folder, 'config.json'), encoding='utf-8') as file:
            self.config = json.load(file)
        self.tensors = {}
        for path in sorted(glob.glob(os.path.join(folder, 'model*.safetensors'))):
            self.tensors.update(read_safetensors(path))
        self.unread = set(self.tensors)

    def scheme(self, module):
        """None: a plain module."""
        quantization = self.config['quantization']
        value = quantization.get(module, f'{module}.scales' in self.tensors)
        if value is True:
            value = quantization
        return value or None

    def take(self, name):
        self.unread.discard(name)
        return self.tensors[name]

    def weight(self, module):
        """The matrix in f32. What is wrong with its tensors is an AssertionError."""
        scheme = self.scheme(module)
        dtype, words = self.take(module + '.weight')
        if scheme is None:
            return floats((dtype, words))
        group, bits = scheme['group_size'], scheme['bits']
        assert dtype == 'U32', dtype
        codes = codes_of(words, bits)
        rows, cols = codes.shape
        scale_type, scales = self.take(module + '.scales')
        assert scales.shape == (rows, cols // group), (scales.shape, rows, cols, group)
        grouped = codes.reshape(rows, -1, group)
        if scheme['mode'] == 'mxfp4':
            assert (scale_type, group, bits) == ('U8', 32, 4)
            values = numpy.where(grouped & 8, -1, 1) * E2M1[grouped & 7]
            return numpy.ldexp(values, scales[:, :, None].astype(int) - 127).astype('<f4').reshape(rows, cols)
        assert scheme['mode'] == 'affine' and group in (32, 64, 128) and bits in (2, 3, 4, 5, 6, 8)
        bias_type, biases = self.take(module + '.biases')
        assert scale_type == bias_type and biases.shape == scales.shape
        scaled = floats((scale_type, scales))[:, :, None] * grouped.astype('<f4')  # exact
        return (scaled + floats((bias_type, biases))[:, :, None]).reshape(rows, cols)

    def bytes_of(self, module):
        return sum(self.tensors[name][1].nbytes for name in self.tensors
                   if name in (module + '.weight', module + '.scales', module + '.biases'))

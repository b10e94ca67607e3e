"""Reads the tensors of a checkpoint folder as float arrays."""
import json
import pathlib

import numpy


def read_tensors(folder):
    """name -> f32 array, of every *.safetensors file of the folder."""
    tensors = {}
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        data = numpy.memmap(path, dtype=numpy.uint8, mode="r")
        length = int(data[:8].view("<u8")[0])
        for name, entry in json.loads(bytes(data[8:8 + length])).items():
            if name == "__metadata__":
                continue
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            values = numpy.array(data[begin:end])
            if entry["dtype"] == "BF16":
                values = (values.view("<u2").astype(numpy.uint32) << 16).view(numpy.float32)
            else:
                values = values.view({"F32": "<f4", "F16": "<f2"}[entry["dtype"]]).astype(numpy.float32)
            tensors[name] = values.reshape(entry["shape"])
    return tensors

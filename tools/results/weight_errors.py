#!/usr/bin/env python3
"""Relative squared errors as JSON: format -> weights -> encoder -> ||w - decoded||^2 / ||w||^2. Encoders are rtn and clip,
for affine formats also mlx, MLX's own quantizer.

usage: weight_errors.py FORMAT_TOOL MODEL_FOLDER COUNT FORMAT...
Weights: COUNT normal ones and COUNT of a Student t distribution with 4 degrees of freedom in rows of 1024, and
the first COUNT of the model's down projections.
"""
import json
import pathlib
import sys
import tempfile

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tools/peer"), str(ROOT / "tools/reproduce")]
from encoders import Files  # noqa: E402
from folder import read_tensors  # noqa: E402
from mlx_rounding import rounded  # noqa: E402


def main():
    tool, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    random = numpy.random.default_rng(7)
    down = [values for name, values in sorted(read_tensors(folder).items()) if "down_proj" in name]
    rows = count // down[0].shape[1]
    weights = {"normal": random.standard_normal((count // 1024, 1024)).astype(numpy.float32),
               "t4": random.standard_t(4, (count // 1024, 1024)).astype(numpy.float32),
               "model": numpy.concatenate(down)[:rows]}
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        for kind, values in weights.items():
            files = Files(tool, temporary, values, numpy.ones(values.shape[1], numpy.float32))
            for name in sys.argv[4:]:
                for encoder in ("rtn", "clip"):
                    coded, _ = files.encode(name, encoder)
                    error = files.errors(name, coded)[0]
                    found.setdefault(name, {}).setdefault(kind, {})[encoder] = float(error)
                if name.startswith("affine"):
                    bits, group = (int(part) for part in name.removeprefix("affine").split("-g"))
                    wrong = rounded(values, bits, group).astype(numpy.float64) - values
                    found[name][kind]["mlx"] = float((wrong ** 2).sum() / (values.astype(numpy.float64) ** 2).sum())
    print(json.dumps(found))


if __name__ == "__main__":
    main()

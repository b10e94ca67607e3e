#!/usr/bin/env python3
"""Compares the encoders of block formats with ggml's, on real and on heavy-tailed weights; prints docs/formats.md's table.

usage: encoders.py FORMAT_TOOL MODEL_FOLDER [FORMAT ...]
FORMAT_TOOL is build/*/format_tool, MODEL_FOLDER a folder with one model.safetensors. BITBUDGET_LLAMA_CPP names the folder
of the npm packages (tests/peer/llama_cpp.py). Exits with 1 where an encoder is worse than ggml's by its own measure:
"clip" in squared error against ggml without, "imatrix" in squared error weighted by the moments against ggml with these
moments as its importance matrix.
"""
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "peer"))
import llama_cpp  # noqa: E402

FORMATS = [name for name in llama_cpp.TYPES if name not in ("f32", "f16", "bf16")]
SYNTHETIC = (512, 4096)
MAX_WEIGHTS = 1 << 21  # per matrix and measurement
NEED_MOMENTS = ("iq1_s", "iq2_xxs", "iq2_xs")  # ggml does not quantize to these without


def safetensors(path):
    """Name and float matrix of every two-dimensional tensor."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    for name, entry in sorted(header.items()):
        if name == "__metadata__" or len(entry["shape"]) != 2:
            continue
        begin, end = entry["data_offsets"]
        raw = data[begin:end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, np.uint16).astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F32": np.float32, "F16": np.float16}[entry["dtype"]]).astype(np.float32)
        yield name, values.reshape(entry["shape"])


def matrices(folder):
    """[(label, weights, moments)]: one matrix of each kind and length of row, and a wide one with heavy tails."""
    random = np.random.default_rng(7)
    chosen = {}
    for name, weights in safetensors(pathlib.Path(folder) / "model.safetensors"):
        kind = name.split(".")[-2]
        chosen.setdefault((kind, weights.shape[1]), weights[:MAX_WEIGHTS // weights.shape[1]])
    by_cols = {}
    for (_, cols), weights in chosen.items():
        by_cols.setdefault(cols, []).append(weights)
    out = [(f"model, k = {cols}", np.concatenate(parts)) for cols, parts in sorted(by_cols.items())]
    out.append((f"Student t4, k = {SYNTHETIC[1]}", (0.02 * random.standard_t(4, SYNTHETIC)).astype(np.float32)))
    # Inputs of a layer differ by orders of magnitude; a few are far above the rest.
    return [(label, w, np.exp(1.5 * random.standard_normal(w.shape[1])).astype(np.float32)) for label, w in out]


class Files:
    def __init__(self, tool, folder, weights, moments):
        self.tool, self.weights, self.moments, self.cols = tool, weights, moments, weights.shape[1]
        self.weights_path, self.moments_path = f"{folder}/weights", f"{folder}/moments"
        weights.tofile(self.weights_path)
        moments.tofile(self.moments_path)

    def encode(self, name, encoder):
        run = subprocess.run([self.tool, "encode", name, encoder, str(self.cols), self.weights_path, self.moments_path],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
        return run.stdout, self.weights.size / float(run.stderr) / 1e6

    def decode(self, name, data):
        run = subprocess.run([self.tool, "decode", name, str(self.cols), str(len(self.weights))], input=data,
                             stdout=subprocess.PIPE, check=True)
        return np.frombuffer(run.stdout, np.float32).reshape(self.weights.shape)

    def errors(self, name, data):
        """Squared error and weighted squared error, relative to the weights' squares."""
        squares = (self.decode(name, data).astype(np.float64) - self.weights) ** 2
        energy = self.weights.astype(np.float64) ** 2
        return squares.sum() / energy.sum(), (squares @ self.moments).sum() / (energy @ self.moments).sum()


def main():
    tool, folder = sys.argv[1:3]
    formats = sys.argv[3:] or FORMATS
    if llama_cpp.folder() is None:
        print("SKIPPED: BITBUDGET_LLAMA_CPP does not name a folder with llama.cpp's libraries")
        return 77
    library = llama_cpp.LlamaCpp()
    worse = []
    for label, weights, moments in matrices(folder):
        print(f"\n{label}, {weights.size / 1e6:.1f} M weights\n")
        print("| format | rtn | clip | ggml | clip / ggml | imatrix, weighted | ggml, weighted | imatrix / ggml | "
              "clip, imatrix, ggml plain, ggml imatrix: M weights/s |")
        print("|---|---|---|---|---|---|---|---|---|")
        with tempfile.TemporaryDirectory() as temporary:
            files = Files(tool, temporary, weights, moments)
            for name in formats:
                if weights.shape[1] % blocks(name):
                    continue
                rtn, _ = files.encode(name, "rtn")
                clip, clip_speed = files.encode(name, "clip")
                imatrix, imatrix_speed = files.encode(name, "imatrix")
                start = time.process_time()
                plain = library.quantize_rows(name, weights, np.ones(weights.shape[1], np.float32) if name in NEED_MOMENTS else None)
                middle = time.process_time()
                weighted = library.quantize_rows(name, weights, moments)
                end = time.process_time()
                speeds = [clip_speed, imatrix_speed] + [weights.size / t / 1e6 for t in (middle - start, end - middle)]
                ours, theirs = files.errors(name, clip)[0], files.errors(name, plain)[0]
                ours_weighted, theirs_weighted = files.errors(name, imatrix)[1], files.errors(name, weighted)[1]
                percent = [f"{100 * math.sqrt(e):.3g} %" for e in
                           (files.errors(name, rtn)[0], ours, theirs, ours_weighted, theirs_weighted)]
                print("| `%s` | %s | %s | %s | %.3f | %s | %s | %.3f | %s |" % (
                    name, percent[0], percent[1], percent[2], ours / theirs, percent[3], percent[4],
                    ours_weighted / theirs_weighted, ", ".join(f"{speed:.1f}" for speed in speeds)), flush=True)
                if ours > theirs or ours_weighted > theirs_weighted:
                    worse.append(f"{name} on {label}")
    print("\nworse than ggml: " + (", ".join(worse) or "none"))
    return int(bool(worse))


def blocks(name):
    if name.endswith("_k") or name in ("tq1_0", "tq2_0") or (name.startswith("iq") and name != "iq4_nl"):
        return 256
    return {"q1_0": 128, "q2_0": 64}.get(name, 32)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Every architecture runs here as it runs in llama.cpp: a small random checkpoint is written as a GGUF file and run by both.

usage: architectures_test.py BITBUDGET MAKE_TINY_MODEL TOKENIZER_FOLDER
Needs BITBUDGET_LLAMA_CPP (the folder of the npm packages); says so and skips without.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print(f"SKIPPED: {sys.executable} has no numpy")
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import llama_cpp  # noqa: E402

# Rows of whole 256-value blocks everywhere; heads of 64. llama.cpp's contexts are multiples of 256 tokens, so short rope
# factors need an original context of as many.
SHAPE = ["--layers", "3", "--hidden", "256", "--heads", "4", "--kv-heads", "2", "--ffn", "512", "--context", "1024"]
LLAMA3 = ('{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 0.8, "high_freq_factor": 4.0, '
          '"original_max_position_embeddings": 64}')
# Frequencies of 32 pairs, all different.
LONGROPE = '{"type": "longrope", "short_factor": %s, "long_factor": %s}' % (
    [1 + i * i / 100 for i in range(32)], [2 + i for i in range(32)])
# llama.cpp has one attention scale for a Gemma and one pattern of sliding layers; windows shorter than the sequences.
GEMMA2 = '{"query_pre_attn_scalar": 64, "sliding_window": 11, "attn_logit_softcapping": 1.5, "final_logit_softcapping": 2.5}'
GEMMA3 = '{"query_pre_attn_scalar": 64, "sliding_window": 11}'
VARIANTS = {
    "llama": ["llama"],
    "llama, tied": ["llama", "--tied", "--kv-heads", "4"],
    "llama, biases": ["llama", "--attention-bias", "--mlp-bias"],
    "llama 3.1": ["llama", "--rope-scaling", LLAMA3, "--rope-theta", "500000"],
    "llama, linear": ["llama", "--rope-scaling", '{"rope_type": "linear", "factor": 4.0}'],
    "mistral": ["mistral", "--head-dim", "128"],
    "qwen2": ["qwen2", "--rope-theta", "1000000"],
    "qwen3": ["qwen3", "--head-dim", "128", "--tied"],
    "gemma2": ["gemma2", "--fields", GEMMA2],
    "gemma3": ["gemma3", "--layers", "7", "--fields", GEMMA3],
    "gemma3, linear": ["gemma3", "--layers", "7", "--fields", GEMMA3, "--rope-scaling", '{"rope_type": "linear", "factor": 8.0}'],
    "phi3": ["phi3"],
    "phi3, partial": ["phi3", "--fields", '{"partial_rotary_factor": 0.75}'],
    "phi3, longrope": ["phi3", "--rope-scaling", LONGROPE],
}

# Logits are of order one. Both sides round to float in different orders, which shows at 2e-6; a wrong scale, angle, norm or
# window shows from 1e-2 on. llama.cpp's GELU is a table of f16 values at f16 inputs: 2^-11 of every MLP's output, which is
# normed behind, adds up over seven layers to 2e-3 in the worst of 10^5 logits.
LOGIT_BOUND = {False: 1e-4, True: 8e-3}
# Relative bounds of the mean negative log likelihood. llama.cpp rounds activations to f16 ahead of f16 weights, and to 8 bits
# ahead of quantized ones.
NLL_BOUND = {"f32": 1e-4, "f16": 1e-3, "q8_0": 5e-3, "q4_k": 5e-3}
TEXT = "It was the best of times.\n  It was the worst of times: 1859!"

failures = []


def expect(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED:", what)


def run(*command):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {result.stderr.strip()}")
    return result.stdout


class Bench:
    def __init__(self, bitbudget, make_tiny, tokenizer, folder):
        self.bitbudget, self.make_tiny, self.tokenizer, self.folder = bitbudget, make_tiny, tokenizer, folder
        self.peer = llama_cpp.LlamaCpp()

    def logits(self, model, tokens):
        out = self.folder / "logits.npy"
        run(self.bitbudget, "logits", model, "--tokens", ",".join(map(str, tokens)), "--out", out, "--activations", "f32")
        return np.load(out)

    def apply(self, model, kind):
        plan, out = self.folder / "plan.pb", self.folder / f"{kind}.gguf"
        run(self.bitbudget, "plan", model, "--target", "llama.cpp", "--formats", kind, "--search", "uniform", "--budget", "32bpw",
            "--encoder", "rtn", "--probes", "2", "--held-out-probes", "2", "--prefix", "4", "--completion", "4", "--no-run-dir",
            "--out", plan)
        run(self.bitbudget, "apply", model, "--plan", plan, "--out", out)
        return out

    def check(self, name, args):
        model = self.folder / "model"
        tokens = [int(t) for t in np.random.default_rng(len(name)).integers(3, 1000, 60)]
        gemma = args[0].startswith("gemma")
        for kind, nll_bound in NLL_BOUND.items():
            what = f"{name}, {kind}"
            dtype = kind if kind == "f16" else "f32"
            run(self.make_tiny, *SHAPE, "--arch", *args, "--tokenizer", self.tokenizer, "--dtype", dtype, "--out", model)
            original = self.logits(model, tokens)
            gguf = self.apply(model, kind)
            ours = self.logits(gguf, tokens)
            peer = self.peer.load(gguf)
            theirs = next(peer.logits([tokens], kv="f32"))
            if kind == "f32":
                text = self.folder / "text"
                text.write_text(TEXT)
                ids = [int(t) for t in run(self.bitbudget, "tokenize", gguf, "--file", text).replace(",", " ").split()]
                expect(ids == peer.tokenize(TEXT), f"{what}: tokens {ids} and {peer.tokenize(TEXT)}")
            peer.close()
            nll = [llama_cpp.mean_nll(logits, tokens) for logits in (ours, theirs)]
            largest = float(np.abs(ours - theirs).max())
            spread = float(np.abs(ours - original).max())
            print(f"{what:24} largest difference {largest:.1e}, nll {nll[0]:.5f} and {nll[1]:.5f}, "
                  f"from the checkpoint's logits {spread:.1e}")
            expect(abs(nll[0] / nll[1] - 1) <= nll_bound, f"{what}: nll {nll[0]} and {nll[1]}")
            if kind not in ("f32", "f16"):
                continue
            # The file says what the checkpoint says; only divisors of rotary frequencies are rounded to f32 on the way.
            divisors = name in ("llama 3.1", "phi3, longrope")
            expect(spread <= (LOGIT_BOUND[False] if divisors else 0),
                   f"{what}: the file's logits are {spread} from the checkpoint's")
            if kind == "f32":
                bound = LOGIT_BOUND[gemma]
                expect(largest <= bound, f"{what}: logits differ by {largest}")
                best = np.sort(ours, axis=1)
                clear = best[:, -1] - best[:, -2] > 2 * bound
                expect(clear.mean() > 0.8, f"{what}: only {clear.sum()} positions have a margin")
                expect((ours.argmax(1) == theirs.argmax(1))[clear].all(), f"{what}: another token wins")


def main():
    if llama_cpp.folder() is None:
        print("SKIPPED: BITBUDGET_LLAMA_CPP names no folder with llama.cpp's libraries (tools/setup.sh)")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(*sys.argv[1:4], pathlib.Path(folder))
        for name, args in VARIANTS.items():
            bench.check(name, args)
    print(f"{len(VARIANTS)} architectures, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

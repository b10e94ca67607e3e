#!/usr/bin/env python3
"""The claims of OneBit (arXiv 2402.11295) on a model of yours.

1. A 4096 x 4096 layer takes 1.0073 bits per parameter.
2. Proposition 2: SVID's error ||W - Sign(W) * (a b^T)||_F is at most that of the best rank-1
   approximation of W itself. Checked on every matrix, as `apply` writes it.
3. Trained one-bit layers are ahead of 2-bit ones that are not: text KL on --eval-text, beside
   round-to-nearest and our gptq at their sizes. `bitbudget recover --method onebit` trains on --text,
   all runs with the same steps on the same sequences; what training ends with is taken as it is.
4. The start from SVID's signs matters: beside drawn signs.
5. The loss of hidden states helps: --hidden-weight in the loss and 0.
6. The norm behind each layer helps: onebit-ln beside onebit.
"""
import pathlib
import tempfile

import numpy

from common import Lab, claim, parser, table, verdict
from folder import read_tensors
from training import Trainer, add_options, lower, text_kl


def size(lab):
    claim("a 4096 x 4096 one-bit layer takes 1.0073 bits per parameter")
    rows, cols = 4096, 4096
    bits = rows * cols + 16 * (rows + cols)
    stored = lab.size_bits("onebit", rows, cols)
    table(["", "bits", "per parameter, g and h counted as ones", "per weight"],
          [["paper's formula", bits, f"{bits / (rows * cols + rows + cols):.4f}", f"{bits / (rows * cols):.4f}"],
           ["bitbudget", stored, f"{stored / (rows * cols + rows + cols):.4f}", f"{stored / (rows * cols):.4f}"]])
    verdict(lab, stored == bits, "The size is what an encoding takes, byte for byte.")


def bound(lab, args):
    claim("SVID's error is at most that of the best rank-1 approximation of W (Proposition 2)")
    _, path = lab.plan("onebit", "--budget", "100%", "--search", "uniform", "--formats", "onebit",
                       "--pin", "embed_tokens|lm_head=" + lab.stored_format(), "--held-out-probes", 2)
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        out = pathlib.Path(folder) / "onebit"
        lab.apply(path, out, "--dtype", "f32")
        coded = read_tensors(out)
    original = read_tensors(args.model)
    by_type = {}
    broken = []
    for name, weights in original.items():
        if ".layers." not in name or weights.ndim != 2:
            continue
        singular = numpy.linalg.svd(weights.astype(numpy.float64), compute_uv=False)
        norm = (singular ** 2).sum()
        rank1 = 1 - singular[0] ** 2 / norm
        svid = ((weights.astype(numpy.float64) - coded[name]) ** 2).sum() / norm
        by_type.setdefault(name.split(".")[-2], []).append((svid, rank1))
        if svid > rank1:
            broken.append(name)
    table(["matrices", "count", "SVID's relative error, worst", "rank 1's, best"],
          [[kind, len(pairs), f"{max(p[0] for p in pairs):.4f}", f"{min(p[1] for p in pairs):.4f}"]
           for kind, pairs in sorted(by_type.items())])
    verdict(lab, not broken, "For Gaussian weights SVID's error is 1 - 2/pi = 0.36."
            if not broken else f"Not for {', '.join(broken)}.")


def trained(lab, args):
    claim("trained one-bit layers are ahead of 2-bit layers that are not trained")
    trainer = Trainer(lab)
    rows = []
    results = {}

    def add(key, layers, how, path, seconds=""):
        e = lab.evaluate_plan(path)
        results[key] = e
        rows.append([layers, how, f"{e['bits_per_weight']:.3f}", text_kl(e), f"{e['text_top1']:.1%}", seconds])

    for name in args.baselines.split(","):
        for encoder in ("rtn", "gptq"):
            add((name, encoder), name, encoder, trainer.start(name, encoder))
    starts = {name: trainer.start(name, "rtn") for name in ("onebit", "onebit-ln")}
    add("untrained", "onebit", "SVID, not trained", starts["onebit"])
    runs = {"SVID": ("onebit", "SVID start", ()),
            "random": ("onebit", "random signs", ("--start", "random")),
            "hidden": ("onebit", f"SVID start, hidden loss x {args.hidden_weight:g}",
                       ("--hidden-weight", f"{args.hidden_weight:g}")),
            "ln": ("onebit-ln", "SVID start", ())}
    for key, (name, how, options) in runs.items():
        out, report = trainer.recover(starts[name], "onebit", args.seed, "--keep-worse", *options)
        steps = report["steps"][0]["steps"]
        add(key, name, f"{how}, {steps} steps", out, f"{report['cpu_seconds']:.0f}")
    table(["layers", "codes", "bits per weight, all", "text KL, nats/token", "top-1 agreement", "CPU-s"], rows)
    baselines = {key: e for key, e in results.items() if isinstance(key, tuple)}
    wins = {f"{name} {encoder}": lower(results["SVID"], e) for (name, encoder), e in baselines.items()}
    ahead = [name for name, win in wins.items() if win]
    verdict(lab, all(wins.values()) or (None if None in wins.values() else False),
            f"Ahead of {', '.join(ahead) or 'none'}; not of {', '.join(n for n in wins if n not in ahead) or 'none'}.")
    compare(lab, "a start from SVID's signs is ahead of one from random signs after the same steps",
            results["SVID"], results["random"])
    compare(lab, "the loss of hidden states beside KL lowers the divergence", results["hidden"], results["SVID"])
    compare(lab, "the norm behind each one-bit layer lowers the divergence", results["ln"], results["SVID"])


def compare(lab, text, better, worse):
    claim(text)
    verdict(lab, lower(better, worse), f"Text KL {text_kl(better)} with, {text_kl(worse)} without.")


def main():
    args = parser(__doc__)
    args.add_argument("--baselines", default="int2-g64", help="2-bit formats to compare with")
    args.add_argument("--hidden-weight", type=float, default=1)
    add_options(args, steps=400, sequences=128)
    args = args.parse_args()
    lab = Lab(args)
    size(lab)
    bound(lab, args)
    trained(lab, args)


if __name__ == "__main__":
    main()

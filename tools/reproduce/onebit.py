#!/usr/bin/env python3
"""The claims of OneBit (arXiv 2402.11295) that need no training, on a model of yours.

1. A 4096 x 4096 layer takes 1.0073 bits per parameter.
2. Proposition 2: SVID's error ||W - Sign(W) * (a b^T)||_F is at most that of the best rank-1
   approximation of W itself. Checked on every matrix, as `apply` writes it.
Distillation, which is what makes one-bit models usable, is not part of this script.
"""
import pathlib
import tempfile

import numpy

from common import Lab, claim, fdt_text, kl_text, parser, table, verdict
from folder import read_tensors


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


def untrained(lab, args):
    print("Without training, all layers in one bit and in two (held-out):\n")
    rows = []
    for name in ("onebit", "int2-g64"):
        e = lab.evaluate([rf"layers\.={name}"])
        rows.append([name, f"{e['bits_per_weight']:.3f}", fdt_text(e), kl_text(e), f"{e['top1_agreement']:.1%}"])
    table(["layers", "bits per weight, all", "FDT", "KL, nats/token", "top-1 agreement"], rows)


def main():
    args = parser(__doc__).parse_args()
    lab = Lab(args)
    size(lab)
    bound(lab, args)
    untrained(lab, args)


if __name__ == "__main__":
    main()

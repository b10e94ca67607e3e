#!/usr/bin/env python3
"""The claims of OmniQuant (arXiv 2308.13137) on a model of yours.

Learnable weight clipping (LWC) and equivalent transformations (LET) are ahead of round-to-nearest
and of GPTQ at 2 to 4 bits of weights, and at 4 bits of weights and activations. All layers are in
the format, in groups of 64; embedding and head stay as stored, as in the paper. LET is a folder
that `bitbudget equalize` writes. GPTQ is ours, with its refinement of scales and codes; it is
stronger than the paper's.
"""
import time

from common import Lab, claim, fdt_text, kl_text, paired_kl, parser, quality, table, verdict

ENCODERS = ("rtn", "clip", "imatrix", "gptq", "lwc")


def compare(lab, args, weights, activations):
    pin = [rf"layers\.={weights}"]
    results = {}
    for encoder in ENCODERS:
        results[encoder] = lab.evaluate(pin, encoder=encoder, activations=activations)
    folded = lab.equalize(weights, activations)
    results["lwc + LET"] = lab.evaluate(pin, encoder="lwc", activations=activations, model=folded)
    results["gptq + LET"] = lab.evaluate(pin, encoder="gptq", activations=activations, model=folded)
    rows = []
    for name, e in results.items():
        low, high = paired_kl(e, results["clip"])
        rows.append([name, fdt_text(e), kl_text(e), f"{quality(e):.2f}", f"{e['top1_agreement']:.1%}",
                     f"[{low:+.2g}, {high:+.2g}]" if name != "clip" else ""])
    print(f"{weights}, activations {activations} "
          f"({results['clip']['bits_per_weight']:.2f} bits per weight with embedding and head):\n")
    table(["encoder", "FDT", "KL, nats/token", "perplexity", "top-1 agreement", "KL minus clip's"], rows)
    learned = min(results["lwc"]["kl_mean"], results["lwc + LET"]["kl_mean"])
    return {"rtn": learned < results["rtn"]["kl_mean"], "gptq": learned < results["gptq"]["kl_mean"]}


def main():
    args = parser(__doc__)
    args.add_argument("--weights", default="int4z-g64,int3z-g64,int2z-g64")
    args = args.parse_args()
    lab = Lab(args)
    claim("LWC and LET are ahead of RTN and GPTQ at W2 to W4 and at W4A4")
    wins = {}
    start = time.monotonic()
    for weights in args.weights.split(","):
        wins[weights] = compare(lab, args, weights, "int16")
    wins["W4A4"] = compare(lab, args, "int4z-g64", "token4")
    wins["W4A8"] = compare(lab, args, "int4z-g64", "token8")
    print(f"({time.monotonic() - start:.0f} s, less what --work held)\n", )
    rtn = [name for name, win in wins.items() if not win["rtn"]]
    gptq = [name for name, win in wins.items() if not win["gptq"]]
    verdict(lab, not rtn, "Ahead of round-to-nearest " + ("everywhere." if not rtn else f"but for {', '.join(rtn)}."))
    verdict(lab, not gptq, "Ahead of GPTQ " + ("everywhere." if not gptq else f"but for {', '.join(gptq)}."))


if __name__ == "__main__":
    main()

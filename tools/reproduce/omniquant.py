#!/usr/bin/env python3
"""The claims of OmniQuant (arXiv 2308.13137) on a model of yours.

Learnable weight clipping (LWC) and equivalent transformations (LET), trained layer by layer as in
the paper (`recover --method omniquant`, with `--let`), are ahead of round-to-nearest and of GPTQ at
2 to 4 bits of weights, and at 4 bits of weights and activations. All layers are in the format, in
groups of 64; embedding and head stay as stored, as in the paper. GPTQ is ours, with its refinement
of scales and codes; it is stronger than the paper's. Beside them what training weights and scales
reaches (`--method blockwise`). Judged by text KL.
"""
from common import Lab, claim, fdt_text, parser, table, verdict
from training import Trainer, add_options, lower, text_kl

ENCODERS = ("rtn", "clip", "gptq")
TRAINED = {"LWC": ("omniquant",), "LWC + LET": ("omniquant", "--let"),
           "weights and scales": ("blockwise",)}


def compare(lab, trainer, weights, activations):
    plans = {encoder: (trainer.start(weights, encoder), None) for encoder in ENCODERS}
    for name, (method, *options) in TRAINED.items():
        plans[name] = trainer.recover(plans["clip"][0], method, lab.args.seed, *options,
                                      "--activations", activations)
    results = {name: lab.evaluate_plan(plan, activations) for name, (plan, _) in plans.items()}
    print(f"{weights}, activations {activations} "
          f"({results['clip']['bits_per_weight']:.2f} bits per weight with embedding and head):\n")
    table(["codes", "text KL, nats/token", "FDT", "top-1 agreement", "CPU-s of training"],
          [[name, text_kl(e), fdt_text(e), f"{e['text_top1']:.1%}",
            "" if plans[name][1] is None else f"{plans[name][1]['cpu_seconds']:.0f}"]
           for name, e in results.items()])
    learned = min((results["LWC"], results["LWC + LET"]), key=lambda e: e["text_kl"])
    return {rival: lower(learned, results[rival]) for rival in ("rtn", "gptq")}


def main():
    args = parser(__doc__)
    args.add_argument("--weights", default="int4z-g64,int3z-g64,int2z-g64")
    add_options(args, steps=None, sequences=64)
    args = args.parse_args()
    lab = Lab(args)
    trainer = Trainer(lab)
    wins = {}
    for weights in args.weights.split(","):
        wins[weights] = compare(lab, trainer, weights, "int16")
    wins["W4A8"] = compare(lab, trainer, "int4z-g64", "token8")
    wins["W4A4"] = compare(lab, trainer, "int4z-g64", "token4")
    for rival, name in (("rtn", "round-to-nearest"), ("gptq", "GPTQ")):
        claim(f"LWC and LET are ahead of {name} at W2 to W4, at W4A8 and at W4A4")
        lost = [where for where, win in wins.items() if win[rival] is not True]
        verdict(lab, not lost,
                f"Ahead of {name} " + ("everywhere." if not lost else f"but for {', '.join(lost)}."))


if __name__ == "__main__":
    main()

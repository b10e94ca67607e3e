#!/usr/bin/env python3
"""What training recovers at the same bytes: text KL before and after every method, by seed.

All layers in one format, encoded by gptq on --text (one-bit layers by SVID); embedding and head as
stored. Or, for a budget such as 2.5bpw, the additive plan of the native ladder. `bitbudget recover`
trains on --text; everything is measured on --eval-text. Targets are text KL relative to our own gptq
plan of the same size.
"""
from common import Lab, claim, parser, table, verdict
from training import Trainer, add_options, text_kl

# Text KL of the best recovery relative to gptq.
TARGETS = {"novel-1m": {"int4-g64": 0.8, "int3-g64": 0.65, "int2-g64": 0.45},
           "novel-8m": {"int4-g64": 0.85, "int3-g64": 0.75, "int2-g64": 0.65}}


def ranking(lab, starts, means):
    """Whether plans of one size keep their order."""
    budgets = {}
    for name in starts:
        if name.split(":")[0].endswith("bpw"):
            budgets.setdefault(name.split(":")[0], []).append(name)
    for budget, names in budgets.items():
        if len(names) < 3:
            continue
        for method in means[names[0]]:
            claim(f"Plans of {budget} keep their order when {method} recovers them")
            before = sorted(names, key=starts.get)
            after = sorted(names, key=lambda name: starts[name] * means[name][method])
            table(["", *(f"{place}." for place in range(1, len(names) + 1))],
                  [["before", *(f"{name} {starts[name]:.4f}" for name in before)],
                   ["recovered",
                    *(f"{name} {starts[name] * means[name][method]:.4f}" for name in after)]])
            swaps = sum((before.index(a) < before.index(b)) != (after.index(a) < after.index(b))
                        for i, a in enumerate(names) for b in names[:i])
            verdict(lab, swaps == 0, f"{swaps} of {len(names) * (len(names) - 1) // 2} pairs swap.")


def main():
    args = parser(__doc__)
    args.add_argument("--formats", default="int4-g64,int3-g64,int2-g64,onebit",
                      help="formats of all layers, budgets such as 2.5bpw, or with a search, 2.5bpw:lim")
    args.add_argument("--methods", default="blockwise blockwise,distill")
    args.add_argument("--one-bit-methods", default="blockwise,onebit")
    args.add_argument("--seeds", default="0,1,2")
    add_options(args, steps=None, sequences=128)
    args = args.parse_args()
    lab = Lab(args)
    trainer = Trainer(lab)
    claim("Training finds better codes for the same formats than gptq")
    rows = []
    ratios = {}
    starts = {}
    for name in args.formats.split(","):
        plan = trainer.start(name, "rtn" if name == "onebit" else "gptq")
        before = lab.evaluate_plan(plan)
        starts[name] = before["text_kl"]
        rows.append([name, "gptq" if name != "onebit" else "SVID", "", text_kl(before), "",
                     f"{before['text_top1']:.1%}", ""])
        methods = args.one_bit_methods if name == "onebit" else args.methods
        for method in methods.split():
            for seed in args.seeds.split(","):
                out, report = trainer.recover(plan, method, int(seed))
                after = lab.evaluate_plan(out)
                ratio = after["text_kl"] / before["text_kl"]
                ratios.setdefault(name, {}).setdefault(method, []).append(ratio)
                rows.append([name, method, seed, text_kl(after), f"{ratio:.3f}",
                             f"{after['text_top1']:.1%}", f"{report['cpu_seconds']:.0f}"])
    table(["layers", "method", "seed", "text KL, nats/token", "of the start",
           "top-1 agreement", "CPU-s"], rows)
    means = {name: {method: sum(r) / len(r) for method, r in by_method.items()}
             for name, by_method in ratios.items()}
    best = {name: min(by_method.values()) for name, by_method in means.items()}
    verdict(lab, all(ratio < 1 for ratio in best.values()),
            "Best method, mean over seeds: "
            + ", ".join(f"{name} {ratio:.2f}" for name, ratio in best.items()) + " of the start.")
    ranking(lab, starts, means)
    targets = {name: target for name, target in TARGETS.get(lab.name, {}).items() if name in best}
    if targets:
        claim("The targets of text KL relative to gptq are met")
        missed = [f"{name} {best[name]:.2f} (target {target})"
                  for name, target in targets.items() if best[name] > target]
        verdict(lab, not missed, "Missed: " + ", ".join(missed) + "." if missed else "All are.")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What training recovers at the same bytes: text KL before and after every method, by seed.

All layers in one format, encoded by gptq on --text (one-bit layers by SVID); embedding and head as
stored. Or, for a budget such as 2.5bpw, the additive plan of the native ladder. `bitbudget recover` trains on --text; everything is measured on --eval-text. Targets are text
KL relative to our own gptq plan of the same size.
"""
import json
import resource

from common import Lab, claim, parser, table, verdict

# Text KL of the best recovery relative to gptq.
TARGETS = {"novel-1m": {"int4-g64": 0.8, "int3-g64": 0.65, "int2-g64": 0.45},
           "novel-8m": {"int4-g64": 0.85, "int3-g64": 0.75, "int2-g64": 0.65}}


class Bench:
    def __init__(self, lab, args):
        self.lab, self.args = lab, args

    def start(self, name):
        """Path of the plan that has every layer in the format, or of the plan for the budget."""
        if name.endswith("bpw"):
            return self.lab.plan(f"{name}-gptq", "--budget", name, "--encoder", "gptq",
                                 "--search", "additive", "--held-out-probes", "2")[1]
        encoder = "rtn" if name == "onebit" else "gptq"
        return self.lab.plan(f"{name}-{encoder}", "--budget", "100%", "--encoder", encoder,
                             "--search", "uniform", "--held-out-probes", "2",
                             "--pin", rf"layers\.={name}",
                             "--pin", f"embed|head={self.lab.stored_format()}")[1]

    def recover(self, plan, methods, seed):
        """(path of the recovered plan, CPU seconds of when it was made)."""
        training = f"{methods}-{self.args.sequences}-{self.args.steps or 'own'}-{seed}"
        out = self.args.work / f"{plan.name.removesuffix('.plan.json')}-{training}.pb"
        kept = out.with_suffix(".seconds.json")
        if not kept.exists():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            options = ["--seed", str(seed), "--held-out-probes", "2", "--sequences",
                       str(self.args.sequences)]
            if self.args.steps:
                options += ["--steps", str(self.args.steps)]
            self.lab.call("recover", "--plan", plan, "--method", methods, "--out", out, *options,
                          *(["--text", self.args.text, "--calibration", self.args.text]
                            if self.args.text else []))
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            kept.write_text(json.dumps(after.ru_utime + after.ru_stime
                                       - before.ru_utime - before.ru_stime))
        return out, json.loads(kept.read_text())


def text_kl(evaluation):
    low, high = evaluation["text_kl_ci"]
    return f"{evaluation['text_kl']:.4f} [{low:.4f}, {high:.4f}]"


def main():
    args = parser(__doc__)
    args.add_argument("--formats", default="int4-g64,int3-g64,int2-g64,onebit",
                      help="formats of all layers, or budgets such as 2.5bpw")
    args.add_argument("--methods", default="blockwise blockwise,distill")
    args.add_argument("--one-bit-methods", default="blockwise,onebit")
    args.add_argument("--seeds", default="0,1,2")
    args.add_argument("--sequences", type=int, default=128)
    args.add_argument("--steps", type=int, help="of every method (default: its own number)")
    args = args.parse_args()
    lab = Lab(args)
    bench = Bench(lab, args)
    claim("Training finds better codes for the same formats than gptq")
    rows = []
    ratios = {}
    for name in args.formats.split(","):
        plan = bench.start(name)
        before = lab.evaluate_plan(plan)
        rows.append([name, "gptq" if name != "onebit" else "SVID", "", text_kl(before), "",
                     f"{before['text_top1']:.1%}", ""])
        methods = args.one_bit_methods if name == "onebit" else args.methods
        for method in methods.split():
            for seed in args.seeds.split(","):
                out, seconds = bench.recover(plan, method, int(seed))
                after = lab.evaluate_plan(out)
                ratio = after["text_kl"] / before["text_kl"]
                ratios.setdefault(name, {}).setdefault(method, []).append(ratio)
                rows.append([name, method, seed, text_kl(after), f"{ratio:.3f}",
                             f"{after['text_top1']:.1%}", f"{seconds:.0f}"])
    table(["layers", "method", "seed", "text KL, nats/token", "of the start",
           "top-1 agreement", "CPU-s"], rows)
    means = {name: {method: sum(r) / len(r) for method, r in by_method.items()}
             for name, by_method in ratios.items()}
    best = {name: min(by_method.values()) for name, by_method in means.items()}
    verdict(lab, all(ratio < 1 for ratio in best.values()),
            "Best method, mean over seeds: "
            + ", ".join(f"{name} {ratio:.2f}" for name, ratio in best.items()) + " of the start.")
    targets = {name: target for name, target in TARGETS.get(lab.name, {}).items() if name in best}
    if targets:
        claim("The targets of text KL relative to gptq are met")
        missed = [f"{name} {best[name]:.2f} (target {target})"
                  for name, target in targets.items() if best[name] > target]
        verdict(lab, not missed, "Missed: " + ", ".join(missed) + "." if missed else "All are.")


if __name__ == "__main__":
    main()

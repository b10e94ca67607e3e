#!/usr/bin/env python3
"""The claims of Oh! We Freeze (arXiv 2403.18159) on a model of yours.

1. Of the attention's matrices, the output and the value projections are the most vulnerable to
   4-bit weights. Forward, without any training: the divergence of the model with all matrices of
   one type in the format, and signal propagation (`bitbudget score --scorer signal`).
2. They have the largest gradients: squared norms by kind and layer while all layers are distilled
   (`bitbudget recover --method distill --profile-every N`), with o and v frozen and without.
3. Distillation with o and v frozen from the first step (ov) is stable over learning rates. All
   rates are multiplied by each of --factors, for no freezing, ov, q and k, and as many drawn
   parameters; same steps and sequences for all. What training ends with is taken as it is, and
   judged by text KL on --eval-text.
4. At the best rate of each, ov ends no worse than no freezing.
"""
from common import Lab, claim, geometric_mean, kl_text, parser, table, verdict
from training import Trainer, add_options, lower, text_kl

TYPES = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "o_proj",
         "gate": "gate_proj", "up": "up_proj", "down": "down_proj"}
FREEZINGS = ("none", "ov", "qk", "random")


def forward(lab, args):
    claim("the output and value projections are the most vulnerable to 4-bit weights")
    weights = lab.weights_by_type()
    signal = lab.score("--scorer", "signal", "--format", args.format, "--encoder", args.encoder)
    rows = []
    divergence = {}
    growth = {}
    for short, name in TYPES.items():
        e = lab.evaluate([f"{name}={args.format}"], encoder=args.encoder)
        divergence[short] = e["kl_mean"] / weights[short]
        summary = signal["kinds"][short]
        growth[short] = summary["stream_error"]
        rows.append([short, f"{weights[short]:,}", kl_text(e), f"{1e6 * divergence[short]:.3g}",
                     f"{summary['sqnr_db']:.1f}", f"{summary['gain']:.4f}",
                     f"{summary['output_error']:.3g}", f"{summary['stream_error']:.3g}"])
    print(f"All matrices of one type in {args.format} ({args.encoder}), the rest as stored:\n")
    table(["type", "weights", "KL, nats/token", "KL per million weights", "SQNR, dB", "gain",
           "relative error at its output", "at the end of the residual stream"], rows)
    by_size = sorted("qkvo", key=lambda t: -divergence[t])
    by_growth = sorted("qkvo", key=lambda t: -growth[t])
    verdict(lab, set(by_size[:2]) == {"o", "v"} and set(by_growth[:2]) == {"o", "v"},
            f"By divergence per weight: {' > '.join(by_size)}; "
            f"by the error at the end of the residual stream: {' > '.join(by_growth)}.")


class Sweep:
    """Distillations of one format: freezing and factor -> evaluation and report."""

    def __init__(self, lab, args, name):
        self.lab, self.args, self.name = lab, args, name
        self.trainer = Trainer(lab)
        self.plan = self.trainer.start(name, args.encoder)
        self.before = lab.evaluate_plan(self.plan)
        self.factors = [float(factor) for factor in args.factors.split(",")]

    def run(self, freezing, factor):
        profiles = max(1, self.args.steps // 4)
        out, report = self.trainer.recover(
            self.plan, "distill", self.args.seed, "--keep-worse", "--freeze", freezing,
            "--rate-factor", f"{factor:g}", "--profile-every", profiles)
        return self.lab.evaluate_plan(out), report

    def profiles(self, freezing):
        """Of the factor next to 1: step -> kind -> (squared gradient norms, SQNRs), by layer."""
        factor = min(self.factors, key=lambda f: abs(f - 1))
        result = {}
        for profile in self.run(freezing, factor)[1]["steps"][0]["profiles"]:
            result[profile["step"]] = {
                kind: ([layer[kind]["gradient_norm"] for layer in profile["layers"]],
                       [layer[kind].get("sqnr_db", float("inf")) for layer in profile["layers"]])
                for kind in TYPES}
        return result


def mean(values):
    return sum(values) / len(values)


def gradients(lab, sweep):
    claim(f"the output and value projections have the largest gradients in attention ({sweep.name})")
    none, frozen = sweep.profiles("none"), sweep.profiles("ov")
    first, last = min(none), max(none)
    rows = []
    for kind in TYPES:
        cells = [f"{mean(none[step][kind][0]):.3g}" for step in none]
        rows.append([kind, *cells, f"{mean(frozen[last][kind][0]):.3g}",
                     f"{mean(none[first][kind][1]):.1f}", f"{mean(none[last][kind][1]):.1f}",
                     f"{mean(frozen[last][kind][1]):.1f}"])
    print(f"Squared gradient norms of KL and SQNRs in dB, means over layers, {sweep.name}, by steps taken; "
          "always on the same sequences that are not trained on:\n")
    table(["type", *(f"gradient, {step}" for step in none), f"with ov frozen, {last}",
           f"SQNR, {first}", f"SQNR, {last}", f"with ov frozen, {last}"], rows)
    print(f"By layer, ahead of the first step and after {last} without and with ov frozen:\n")
    table(["layer", *TYPES],
          [[layer, *(" / ".join(f"{profiles[step][kind][0][layer]:.2g}" for profiles, step in
                                ((none, first), (none, last), (frozen, last))) for kind in TYPES)]
           for layer in range(lab.layers())])
    orders = {when: sorted("qkvo", key=lambda t: -mean(none[step][t][0]))
              for when, step in (("at the start", first), ("at the end", last))}
    largest = [set(order[:2]) == {"o", "v"} for order in orders.values()]
    verdict(lab, all(largest), "; ".join(f"{' > '.join(order)} {when}" for when, order in orders.items()) + ".")


def rates(lab, sweep):
    claim(f"freezing o and v keeps distillation stable over learning rates ({sweep.name})")
    results = {(freezing, factor): sweep.run(freezing, factor)
               for freezing in FREEZINGS for factor in sweep.factors}
    rows = []
    for factor in sweep.factors:
        cells = []
        for freezing in FREEZINGS:
            e, report = results[freezing, factor]
            note = " (diverged)" if report["steps"][0]["diverged"] else \
                " (worse than the start)" if e["text_kl"] > sweep.before["text_kl"] else ""
            cells.append(text_kl(e) + note)
        rows.append([f"{factor:g}", *cells])
    print(f"Text KL in nats/token after {sweep.args.steps} steps, {sweep.name} from {sweep.args.encoder} "
          f"({text_kl(sweep.before)}):\n")
    table(["learning rates x", *FREEZINGS], rows)

    def spread(freezing):
        """The divergences of the rates over the best of them, as a geometric mean."""
        values = [results[freezing, factor][0]["text_kl"] for factor in sweep.factors]
        return geometric_mean([value / min(values) for value in values])

    spreads = {freezing: spread(freezing) for freezing in FREEZINGS}
    highest = max(sweep.factors)
    at_highest = lower(results["ov", highest][0], results["none", highest][0])
    steadiest = min(spreads, key=spreads.get) == "ov"
    verdict(lab, at_highest if steadiest else False,
            "Mean over rates relative to the best rate: "
            + ", ".join(f"{freezing} {spreads[freezing]:.3f}" for freezing in FREEZINGS)
            + f"; at x {highest:g}: ov {text_kl(results['ov', highest][0])}, "
            f"none {text_kl(results['none', highest][0])}.")
    claim(f"at its best rate ov-freeze ends no worse than no freezing ({sweep.name})")
    best = {freezing: min((results[freezing, factor][0] for factor in sweep.factors),
                          key=lambda e: e["text_kl"]) for freezing in FREEZINGS}
    verdict(lab, best["ov"]["text_kl"] <= best["none"]["text_kl"] or lower(best["none"], best["ov"]) is None,
            "; ".join(f"{freezing} {text_kl(best[freezing])}" for freezing in FREEZINGS) + ".")


def main():
    args = parser(__doc__)
    args.add_argument("--format", default="int4-g128", help="of the forward claim")
    args.add_argument("--formats", default="int4-g128,int2-g64", help="to distill")
    args.add_argument("--encoder", default="rtn")
    args.add_argument("--factors", default="0.1,0.3,1,3,10", help="of the method's own learning rates")
    add_options(args, steps=100, sequences=64)
    args = args.parse_args()
    lab = Lab(args)
    forward(lab, args)
    for name in args.formats.split(","):
        sweep = Sweep(lab, args, name)
        gradients(lab, sweep)
        rates(lab, sweep)


if __name__ == "__main__":
    main()

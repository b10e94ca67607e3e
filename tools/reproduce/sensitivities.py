#!/usr/bin/env python3
"""How well costs from gradients foretell what a format of one matrix does to a model.

Every matrix alone in every format is measured (KL to the original, in nats per token, on held-out
windows of --text) and compared with what scorers say of it without running any candidate: rank
correlation (Spearman) in every format and over all of them, the factor between both, and CPU seconds.
Then plans of one budget made from the costs of each are measured on --eval-text.
"""
import json
import math
import re
import resource

from common import Lab, claim, parser, table, verdict

SCORERS = ("kfac", "fisher", "output error")


def ranks(values):
    """Ranks from 0; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    result = [0.0] * len(values)
    first = 0
    while first < len(order):
        last = first
        while last + 1 < len(order) and values[order[last + 1]] == values[order[first]]:
            last += 1
        for i in order[first:last + 1]:
            result[i] = (first + last) / 2
        first = last + 1
    return result


def correlation(a, b):
    """Spearman's."""
    x, y = ranks(a), ranks(b)
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((p - mean_x) * (q - mean_y) for p, q in zip(x, y))
    return covariance / math.sqrt(sum((p - mean_x) ** 2 for p in x) * sum((q - mean_y) ** 2 for q in y))


def divergence(evaluation):
    """KL on natural text where it is measured, else on the reference's completions."""
    return evaluation["text_kl"] if "text_kl" in evaluation else evaluation["kl_mean"]


class Bench:
    def __init__(self, lab, args):
        self.lab, self.args = lab, args
        self.formats = args.formats.split(",")

    def timed(self, *command):
        """(JSON of a command, CPU seconds of when it was run)."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = self.lab.json(*command)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        kept = self.args.work / "cpu_seconds.json"
        times = json.loads(kept.read_text()) if kept.exists() else {}
        name = " ".join(str(word) for word in command)
        if name not in times:
            times[name] = seconds
            kept.write_text(json.dumps(times))
        return result, times[name]

    def costs(self, scorer):
        """({component: {format: cost}}, CPU seconds)"""
        text = ["--text", self.args.text] if self.args.text else []
        common = ["--encoder", self.args.encoder] + text
        if scorer != "output error":
            scores, seconds = self.timed("score", "--scorer", scorer, "--formats",
                                         self.args.formats, *common)
            return {c["name"]: c["cost"] for c in scores["components"]}, seconds
        costs, total = {}, 0
        for name in self.formats:
            scores, seconds = self.timed("score", "--scorer", "signal", "--format", name,
                                         "--probes", 16, *common)
            total += seconds
            for component, measures in scores["components"].items():
                costs.setdefault(component, {})[name] = measures["output_error"] ** 2
        return costs, total

    def measured(self, components):
        total = 0
        result = {}
        for component in components:
            for name in self.formats:
                command = ["eval", "--encoder", self.args.encoder, "--probes", self.args.probes,
                           "--pin", f"^{re.escape(component)}$={name}"]
                if self.args.text:
                    command += ["--text", self.args.text]
                evaluation, seconds = self.timed(*command)
                total += seconds
                result.setdefault(component, {})[name] = divergence(evaluation)
        return result, total


def compare(bench):
    costs = {scorer: bench.costs(scorer) for scorer in SCORERS}
    components = list(costs["kfac"][0])
    measured, seconds = bench.measured(components)
    rows = []
    pooled = {}
    for scorer, (cost, cpu) in costs.items():
        row = [scorer]
        for names in [[name] for name in bench.formats] + [bench.formats]:
            pairs = [(cost[c][name], measured[c][name]) for c in components for name in names]
            pooled[scorer] = correlation([a for a, _ in pairs], [b for _, b in pairs])
            row.append(f"{pooled[scorer]:.3f}")
        for name in bench.formats:
            if scorer == "output error":
                row.append("")
                continue
            logs = [math.log(cost[c][name] / measured[c][name]) for c in components
                    if cost[c][name] > 0 and measured[c][name] > 0]
            mean = sum(logs) / len(logs)
            spread = math.sqrt(sum((x - mean) ** 2 for x in logs) / len(logs))
            row.append(f"{math.exp(mean):.2f} ({spread:.2f})")
        rows.append(row + [f"{cpu:.1f}"])
    rows.append(["measured"] + [""] * (2 * len(bench.formats) + 1) + [f"{seconds:.1f}"])
    print(f"{len(components)} matrices, one at a time, encoder {bench.args.encoder}: Spearman's "
          "correlation with measured KL; cost / KL as geometric mean (deviation of its log).\n")
    table(["", *bench.formats, "all", *[f"factor {name}" for name in bench.formats], "CPU-s"], rows)
    verdict(bench.lab, pooled["kfac"] >= 0.97,
            f"Over all formats: K-FAC {pooled['kfac']:.3f}, diagonal Fisher {pooled['fisher']:.3f}, "
            f"output error {pooled['output error']:.3f}.")
    return components, {**{s: c for s, (c, _) in costs.items()}, "measured": measured}


def shape(config, component):
    """(outputs, inputs) of a component by its name."""
    hidden, ffn, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    kv = config.get("num_key_value_heads", heads) * head
    return {"q_proj": (heads * head, hidden), "k_proj": (kv, hidden), "v_proj": (kv, hidden),
            "o_proj": (hidden, heads * head), "gate_proj": (ffn, hidden), "up_proj": (ffn, hidden),
            "down_proj": (hidden, ffn)}.get(component.split(".")[-1], (config["vocab_size"], hidden))


def fill(sizes, costs, budget):
    """The format of every component with the least sum of costs within `budget` bits; exact."""
    best = {0: (0.0, ())}  # bits so far -> the least cost of getting there, and how
    for c in sizes:
        reached = {}
        for bits, (cost, chosen) in best.items():
            for name, more in sizes[c].items():
                now, total = bits + more, cost + costs[c][name]
                if now <= budget and (now not in reached or total < reached[now][0]):
                    reached[now] = (total, chosen + (name,))
        best = {}
        for bits in sorted(reached):  # what takes more bits must cost less
            if not best or reached[bits][0] < least:
                best[bits] = reached[bits]
                least = reached[bits][0]
    return dict(zip(sizes, min(best.values())[1]))


def plans(bench, components, costs):
    lab, args = bench.lab, bench.args
    shapes = {c: shape(lab.config(), c) for c in components}
    sizes = {c: {f: lab.size_bits(f, *shapes[c]) for f in bench.formats} for c in components}
    budget = args.bits * sum(rows * cols for rows, cols in shapes.values())
    rows, kl, size = [], {}, 0
    for source, cost in costs.items():
        choice = fill(sizes, cost, budget)
        bits = sum(sizes[c][f] for c, f in choice.items()) / sum(r * k for r, k in shapes.values())
        evaluation = lab.evaluate([f"^{re.escape(c)}$={f}" for c, f in choice.items()],
                                  encoder=args.encoder)
        kl[source] = divergence(evaluation)
        size = max(size, evaluation["size_bytes"])
        rows.append([source, f"{bits:.3f}", f"{kl[source]:.4f}"])
    for source in ("output-error", "kfac", "fisher"):
        _, path = lab.plan(f"{source}-{args.formats}-{args.encoder}-{size}", "--search", "additive", "--costs", source,
                           "--formats", args.formats, "--encoder", args.encoder,
                           "--budget", f"{size}B", "--held-out-probes", 2)
        evaluation = lab.evaluate_plan(path)
        rows.append([f"plan --search additive --costs {source}", f"{evaluation['bits_per_weight']:.3f}",
                     f"{divergence(evaluation):.4f}"])
    print(f"Every matrix in one of {args.formats}, the least sum of costs within {args.bits} bits per weight of the "
          "matrices;\nand plans of the same size (bits per weight with norms), where output errors only say what to measure:\n")
    table(["costs", "bits per weight", "KL"], rows)
    verdict(lab, kl["kfac"] <= 1.05 * kl["measured"],
            f"K-FAC's plan has {kl['kfac'] / kl['measured']:.3f} times the KL of the one from measured "
            f"divergences, output error's {kl['output error'] / kl['measured']:.3f} times.")


def main():
    args = parser(__doc__)
    args.add_argument("--formats", default="int2-g64,int3-g64,int4-g64")
    args.add_argument("--encoder", default="rtn")
    args.add_argument("--bits", type=float, default=3.25, help="budget of the plans, per weight")
    args = args.parse_args()
    if args.threads is None:
        args.threads = 1  # CPU seconds are compared
    bench = Bench(Lab(args), args)
    claim("gradients tell divergences of single matrices without a run of any candidate")
    components, costs = compare(bench)
    claim("plans from these costs are within 5 % of those from measured divergences")
    plans(bench, components, costs)


if __name__ == "__main__":
    main()

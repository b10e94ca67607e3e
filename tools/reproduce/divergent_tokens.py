#!/usr/bin/env python3
"""The claims of Divergent Token Metrics (arXiv 2311.01544) on a model of yours.

1. With the same number of components in int8 (one scale per row, plain rounding), the order found
   by the first divergent token keeps more of the reference's completions than that by perplexity.
2. Sparsification guided by the first divergent token beats the same share of zeros everywhere, at
   60 and at 75 %. (The paper retrains between rounds. Nothing is retrained here.)
3. What it leaves: value projections stay comparatively dense.
"""
import re

from common import Lab, claim, fdt_text, kl_text, parser, quality, table, verdict


def quantization_order(lab, args):
    claim("FDT order beats PPL order at the same number of components in int8")
    steps = {}
    orders = args.orders.split(",")
    for order in orders:
        plan, _ = lab.plan(f"beam-{args.low}-{order}-{args.beam_width}", "--search", "beam", "--order", order,
                           "--beam-width", args.beam_width, "--formats", f"{lab.stored_format()},{args.low}",
                           "--encoder", "rtn", "--budget", args.budget, "--held-out-probes", 2)
        trace = plan["search"]["trace"]
        steps[order] = [step["changes"][0]["component"] for step in trace[1:]]
    total = len(plan["components"])
    counts = [n for n in (total // 4, total // 2, 2 * total // 3) if all(n <= len(s) for s in steps.values())]
    rows = []
    wins = []
    for count in counts:
        found = {}
        for order in orders:
            names = "|".join(re.escape(name) for name in steps[order][:count])
            found[order] = lab.evaluate([f"^({names})$={args.low}"], encoder="rtn")
            rows.append([f"{count} of {total}", order, f"{found[order]['bits_per_weight']:.2f}",
                         fdt_text(found[order]), kl_text(found[order]), f"{quality(found[order]):.3f}"])
        wins.append(all(found["fdt"]["fdt_mean"] > found[rival]["fdt_mean"] for rival in orders if rival != "fdt"))
    whole = lab.evaluate(uniform=args.low, encoder="rtn")
    rows.append(["all", "", f"{whole['bits_per_weight']:.2f}", fdt_text(whole), kl_text(whole),
                 f"{quality(whole):.3f}"])
    table([f"components in {args.low}", "order by", "bits per weight", "FDT", "KL, nats/token", "perplexity"], rows)
    verdict(lab, all(wins) if wins else None,
            f"FDT order has the highest mean FDT in {sum(wins)} of {len(wins)} places; the orders were found on "
            f"{args.search_probes} probes, the table is held out.")


def sparsity(lab, args):
    claim("FDT-guided sparsity beats uniform sparsity at 60 and 75 %")
    print("No retraining between rounds.\n")
    base = lab.stored_format()
    rows = []
    wins = []
    plan = None
    for share in (60, 75):
        plan, path = lab.plan(f"sparsify-{share}", "--search", "sparsify", "--sparsity", f"{share}%",
                              "--formats", f"{base}+s*", "--encoder", "rtn", "--held-out-probes", 2)
        guided = lab.evaluate_plan(path)
        uniform = lab.evaluate([rf"layers\.={base}+s{share}"], encoder="rtn")
        wins.append((guided["fdt_mean"] > uniform["fdt_mean"], guided["kl_mean"] < uniform["kl_mean"]))
        for name, e in (("guided by FDT", guided), ("uniform", uniform)):
            rows.append([f"{share} %", name, f"{e['bits_per_weight']:.2f}", fdt_text(e), kl_text(e),
                         f"{quality(e):.1f}"])
    table(["zeros in the layers", "", "bits per weight", "FDT", "KL, nats/token", "perplexity"], rows)
    verdict(lab, all(fdt and kl for fdt, kl in wins),
            f"Guided has the higher FDT {sum(w[0] for w in wins)} and the lower KL {sum(w[1] for w in wins)} "
            "times of 2.")
    return plan


def dense_values(lab, plan):
    claim("value projections stay comparatively dense")
    zeros = {}
    for component in plan["components"]:
        match = re.search(r"layers\.(\d+)\..*\.(\w+)_proj", component["name"])
        if match is None:
            continue
        name = component["format"]
        share = 100.0 if name == "removed" else float(name.rpartition("+s")[2]) if "+s" in name else 0.0
        zeros.setdefault(match[2], []).append((share, int(component["rows"]) * int(component["cols"])))
    mean = {kind: sum(s * n for s, n in parts) / sum(n for _, n in parts) for kind, parts in zeros.items()}
    table(["matrices", "zeros, mean", "smallest", "largest", "removed whole"],
          [[kind, f"{mean[kind]:.1f} %", f"{min(parts)[0]:g} %", f"{max(parts)[0]:g} %",
            sum(s == 100 for s, _ in parts)] for kind, parts in zeros.items()])
    overall = sum(s * n for p in zeros.values() for s, n in p) / sum(n for p in zeros.values() for _, n in p)
    verdict(lab, mean["v"] < overall, f"Values lose {mean['v']:.1f} %, all matrices {overall:.1f} %.")


def main():
    args = parser(__doc__)
    args.add_argument("--low", default="int8", help="format that components are moved to, in plain rounding")
    args.add_argument("--budget", default="65%", help="where the order ends: far enough for two thirds of the components")
    args.add_argument("--orders", default="fdt,dppl,ppl", help="ppl needs --text")
    args.add_argument("--beam-width", type=int, default=1, help="the paper's is 10")
    args = args.parse_args()
    lab = Lab(args)
    quantization_order(lab, args)
    dense_values(lab, sparsity(lab, args))


if __name__ == "__main__":
    main()

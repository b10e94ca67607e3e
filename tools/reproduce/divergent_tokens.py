#!/usr/bin/env python3
"""The claims of Divergent Token Metrics (arXiv 2311.01544) on a model of yours.

1. With the same number of components in int8 (one scale per row, plain rounding), the order found
   by the first divergent token keeps more of the reference's completions than that by perplexity.
2. Sparsification guided by the first divergent token beats the same share of zeros everywhere, at
   60 and at 75 %: without retraining, and with training after every round (--retrain), where the
   uniform model is trained for as many steps in all (recover, distill). A third row trains the
   masks of the search without training likewise: what the masks are worth, and when to train.
3. What it leaves: value projections stay comparatively dense.
"""
import re

from common import Lab, claim, fdt_text, kl_text, parser, quality, table, text_kl_text, verdict


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


def uniform_plan(lab, share, pruning):
    """Path of the plan with the same share of zeros in every matrix of the layers."""
    base = lab.stored_format()
    return lab.plan(f"uniform-{share}-{pruning}", "--search", "uniform", "--budget", "100%", "--encoder", "rtn",
                    "--pruning", pruning, "--held-out-probes", 2, "--pin", rf"layers\.={base}+s{share}",
                    "--pin", f"embed|head={base}")[1]


def guided_plan(lab, args, share, pruning, *options):
    """The plan of the FDT-guided search, retrained between its rounds where the options say so, and its path."""
    name = "-".join(["sparsify", str(share), pruning, "-".join(map(str, args.steps)) if options else "none"])
    return lab.plan(name, "--search", "sparsify", "--sparsity", f"{share}%", "--formats",
                    f"{lab.stored_format()}+s*", "--encoder", "rtn", "--pruning", pruning,
                    "--held-out-probes", 2, *options)


def trained_at_the_end(lab, args, plan, steps):
    """Path of the plan with its codes trained for so many steps under its final masks."""
    out = args.work / f"{plan.name.removesuffix('.plan.json')}-{steps}.pb"
    if not out.exists():
        lab.call("recover", "--plan", plan, "--method", "distill", "--steps", steps, "--out", out,
                 "--sequences", min(512, max(64, 4 * sum(args.steps))), "--held-out-probes", 2,
                 *(["--text", args.text, "--calibration", args.text] if args.text else []))
    return out


def compared(lab, args, share, pruning, retrained):
    """Rows of (label, evaluation), guided first and uniform second, the steps of training, and the guided plan."""
    if not retrained:
        plan, path = guided_plan(lab, args, share, pruning)
        uniform = lab.evaluate([rf"layers\.={lab.stored_format()}+s{share}"], encoder="rtn", pruning=pruning)
        return [("guided by FDT", lab.evaluate_plan(path)), ("uniform", uniform)], 0, plan
    plan, path = guided_plan(lab, args, share, pruning, "--retrain", ",".join(map(str, args.steps)))
    steps = int(plan["search"]["rounds"]) * sum(args.steps)
    at_end = [("uniform, trained at the end", uniform_plan(lab, share, pruning)),
              ("guided without training, trained at the end", guided_plan(lab, args, share, pruning)[1])]
    return ([("guided by FDT, trained after every round", lab.evaluate_plan(path))]
            + [(label, lab.evaluate_plan(trained_at_the_end(lab, args, start, steps))) for label, start in at_end],
            steps, plan)


def sparsity(lab, args):
    """The FDT-guided plan of the most zeros, retrained where anything is."""
    plan = None
    for retrained in [False, True] if sum(args.steps) else [False]:
        claim("FDT-guided sparsity beats uniform sparsity at 60 and 75 %"
              + (", both retrained for as many steps" if retrained else ", without retraining"))
        rows, wins = [], []
        for pruning in args.pruning.split(","):
            for share in (60, 75):
                results, steps, plan = compared(lab, args, share, pruning, retrained)
                guided, uniform = results[0][1], results[1][1]
                wins.append([guided[key] < uniform[key] for key in ("text_kl", "kl_mean")]
                            + [guided["fdt_mean"] > uniform["fdt_mean"]])
                for label, e in results:
                    rows.append([f"{share} %", pruning, label, steps, f"{e['bits_per_weight']:.2f}", fdt_text(e),
                                 text_kl_text(e), kl_text(e), f"{quality(e):.1f}"])
        table(["zeros in the layers", "pruned by", "", "steps of training", "bits per weight", "FDT",
               "text KL, nats/token", "KL of completions", "perplexity"], rows)
        won = [sum(column) for column in zip(*wins)]
        verdict(lab, all(all(w) for w in wins),
                f"Guided has the lower text KL {won[0]}, the lower KL of completions {won[1]} and the higher "
                f"FDT {won[2]} times of {len(wins)}.")
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
    args.add_argument("--retrain", default="90,10", help="steps of training after every round, with masks and\n"
                      "without (the paper's: 450,50); 0,0: none")
    args.add_argument("--pruning", default="magnitude", help="magnitude (the paper's), fisher, wanda; several "
                      "by commas")
    args.add_argument("--only-sparsity", action="store_true", help="leave the order of quantization out")
    args = args.parse_args()
    args.steps = [int(steps) for steps in args.retrain.split(",")]
    lab = Lab(args)
    if not args.only_sparsity:
        quantization_order(lab, args)
    dense_values(lab, sparsity(lab, args))


if __name__ == "__main__":
    main()

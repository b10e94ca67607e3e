#!/usr/bin/env python3
"""Compares search methods at the same size on held-out probes; prints Markdown tables or JSON.

Plans a model with every method at every budget (probes from --plan-text, or from the model itself),
measures every plan with `bitbudget eval` on --eval-text (or on the model's own held-out probes), and
prints, per budget: size, text KL, FDT and KL along completions with 95 % intervals, perplexity, the work
of the search (rows x layers of the candidates that it ran, in millions, and as a share of what a naive
search would run) and CPU seconds of the whole `plan` command, which shares nothing with another, and
greedy's paired differences to each rival. The evaluation probes are used for nothing else. --work keeps
plans and evaluations, so an interrupted run goes on at the plan where it was.
"""
import argparse
import json
import os
import pathlib
import random
import resource
import subprocess
import sys

METHODS = {
    "greedy": ["--search", "greedy"],
    "greedy exhaustive": ["--search", "greedy", "--exhaustive"],
    "K-FAC sum": ["--search", "additive", "--costs", "kfac"],
    "first-order": ["--search", "additive", "--costs", "first-order"],
    "weighted-error": ["--search", "additive", "--costs", "weighted-error"],
    "linearity": ["--search", "additive", "--costs", "linearity"],
    "evolution": ["--search", "evolution"],
    "additive exhaustive": ["--search", "additive", "--exhaustive"],
    "uniform": ["--search", "uniform"],
    "LIM order": ["--search", "layerwise", "--scorer", "lim"],
    "ZD order": ["--search", "layerwise", "--scorer", "zd"],
    "signal order": ["--search", "layerwise", "--scorer", "signal"],
    "random order": ["--search", "random"],
    "beam FDT": ["--search", "beam", "--order", "fdt"],
    "beam PPL": ["--search", "beam", "--order", "ppl"],
}
# What --methods compares unless told otherwise: exhaustive runs and beams take hours on larger
# models.
DEFAULT_METHODS = [method for method in METHODS
                   if not method.endswith("exhaustive") and not method.startswith(("beam", "signal"))]
RESAMPLES = 2000


def cpu_seconds():
    """Of all commands that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(command, allowed=(0,)):
    """Runs a command; (exit code, stdout, last line of stderr). Exit codes not allowed end the script."""
    # Threads that wait would count as work.
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "OMP_WAIT_POLICY": "passive"})
    if result.returncode not in allowed:
        sys.exit(f"{' '.join(command)}\nexit code {result.returncode}: {result.stderr.strip()}")
    return result.returncode, result.stdout, result.stderr.strip().split("\n")[-1]


def measure(args, method, budget):
    """The evaluation of one plan, made now or found in --work; None where the budget is infeasible."""
    model = pathlib.Path(args.model).name
    stem = args.work / f"{model}-{args.encoder}-{budget}-{method.replace(' ', '-')}"
    evaluation = stem.with_name(stem.name + ".json")
    planned = stem.with_name(stem.name + ".plan.json")
    plan = stem.with_name(stem.name + ".pb")
    common = ["--seed", str(args.seed)]
    if args.threads:
        common += ["--threads", str(args.threads)]
    if not planned.exists():
        command = [args.bitbudget, "plan", args.model, "--budget", budget, "--out", str(plan)]
        command += METHODS[method] + common + ["--probes", str(args.probes), "--json"]
        command += ["--held-out-probes", str(args.guard_probes)]
        command += ["--encoder", args.encoder]
        command += ["--no-run-dir"]
        if args.formats:
            command += ["--formats", args.formats]
        if args.plan_text:
            command += ["--text", args.plan_text]
        before = cpu_seconds()
        code, out, message = run(command, allowed=(0, 4))
        if code == 4:
            print(f"{budget}: {message}", file=sys.stderr)
            return None
        summary = json.loads(out)
        summary["search"]["cpu_seconds"] = cpu_seconds() - before
        print(f"{stem.name}: {summary['search']['candidates']} candidates, "
              f"{summary['search']['cpu_seconds']:.0f} CPU seconds", file=sys.stderr)
        planned.write_text(json.dumps(summary))
    if not evaluation.exists():
        text = ["--text", args.eval_text] if args.eval_text else []
        if args.plan_text:
            text += ["--calibration", args.plan_text]
        _, out, _ = run([args.bitbudget, "eval", args.model, "--plan", str(plan), "--probes",
                         str(args.eval_probes), "--json"] + text + common)
        evaluation.write_text(out)
    summary = json.loads(planned.read_text())
    # Where a plan fell back to uniform, it is not the method's own.
    return json.loads(evaluation.read_text()) | {
        "search": summary["search"], "uniform_emitted": summary.get("uniform_emitted", False)}


def paired(a, b, value, weight):
    """95 % bootstrap interval of sum(value)/sum(weight) of a minus that of b, same probes."""
    if [p["prompt_tokens"] for p in a] != [p["prompt_tokens"] for p in b]:
        sys.exit("evaluations in --work are of different probes; use an empty --work")
    terms = [(value(x) - value(y), weight(x)) for x, y in zip(a, b)]
    rng = random.Random(1)
    differences = []
    for _ in range(RESAMPLES):
        sample = rng.choices(terms, k=len(terms))
        differences.append(sum(t[0] for t in sample) / sum(t[1] for t in sample))
    differences.sort()
    return differences[int(0.025 * RESAMPLES)], differences[int(0.975 * RESAMPLES) - 1]


def verdict(low, high, larger_is_better):
    """'+' better, '-' worse, '=' not significant, of greedy against a rival."""
    if low <= 0 <= high:
        return "="
    return "+" if (low > 0) == larger_is_better else "-"


def against(greedy, rival):
    """Intervals of greedy minus a rival, paired over probes: text KL (None without any), FDT, KL."""
    a, b = greedy["per_probe"], rival["per_probe"]
    text = None
    if greedy["text_kl"] is not None:
        text = paired(a, b, lambda p: p["text"]["kl"], lambda p: p["text"]["tokens"])
    return (text,
            paired(a, b, lambda p: p["fdt"], lambda p: 1),
            paired(a, b, lambda p: p["kl"], lambda p: p["tokens"]))


def as_json(args, budget, rows):
    """What the table shows, one object per method."""
    result = []
    for method, e in rows.items():
        row = {"model": pathlib.Path(args.model).name, "encoder": args.encoder, "budget": budget,
               "method": method}
        row |= {key: e[key] for key in ("bits_per_weight", "text_kl", "text_kl_ci", "fdt_mean", "fdt_ci",
                                        "kl_mean", "kl_ci", "ppl_candidate", "uniform_emitted", "search")}
        if "greedy" in rows and method != "greedy":
            text, fdt, kl = against(rows["greedy"], e)
            row |= {"greedy_minus_this": {"text_kl_ci": text, "fdt_ci": fdt, "kl_ci": kl}}
        result.append(row)
    return result


def table(args, budget, rows):
    print(f"\n**{pathlib.Path(args.model).name}, {budget}, encoder {args.encoder}**\n")
    print("| method | bits/weight | text KL, nats/token | FDT mean | KL, nats/token | perplexity | "
          "work, M rows x layers | CPU s | greedy's text KL minus this | greedy's FDT minus this |")
    print("|---" * 10 + "|")
    greedy = rows.get("greedy")
    for method, e in rows.items():
        fell_back = " (emits uniform)" if e["uniform_emitted"] and method != "uniform" else ""
        text = "-"
        if e["text_kl"] is not None:
            text = f"{e['text_kl']:.3g} [{e['text_kl_ci'][0]:.3g}, {e['text_kl_ci'][1]:.3g}]"
        cells = [method + fell_back, f"{e['bits_per_weight']:.3f}", text,
                 f"{e['fdt_mean']:.1f} [{e['fdt_ci'][0]:.1f}, {e['fdt_ci'][1]:.1f}]",
                 f"{e['kl_mean']:.3g} [{e['kl_ci'][0]:.3g}, {e['kl_ci'][1]:.3g}]",
                 f"{e['ppl_candidate']:.2f}" if e["ppl_candidate"] else "-",
                 f"{e['search']['computed'] / 1e6:.3g} "
                 f"({e['search']['computed'] / e['search']['naive']:.1%} of naive)",
                 f"{e['search']['cpu_seconds']:.3g}"]
        if greedy is not None and method != "greedy":
            text, fdt, _ = against(greedy, e)
            cells.append("-" if text is None else f"{verdict(*text, False)} [{text[0]:+.2g}, {text[1]:+.2g}]")
            cells.append(f"{verdict(*fdt, True)} [{fdt[0]:+.1f}, {fdt[1]:+.1f}]")
        else:
            cells += ["", ""]
        print("| " + " | ".join(cells) + " |")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--eval-text", help="held-out text, used for evaluation only (default: the model's own)")
    parser.add_argument("--plan-text", help="text that plans are made with (default: the model's own)")
    parser.add_argument("--budgets", default="2.25bpw,2.5bpw,3bpw,3.5bpw,4bpw,5bpw")
    parser.add_argument("--encoder", default="clip", help="how all of them choose codes")
    parser.add_argument("--formats", help="formats to choose from, as for bitbudget plan")
    parser.add_argument("--json", action="store_true", help="print one JSON array instead of tables")
    parser.add_argument("--methods", default=",".join(DEFAULT_METHODS),
                        help=f"of: {', '.join(METHODS)}")
    parser.add_argument("--probes", type=int, default=48, help="search probes")
    parser.add_argument("--guard-probes", type=int, default=64,
                        help="held-out probes of the plan's own comparison with uniform")
    parser.add_argument("--eval-probes", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for plans and evaluations")
    parser.add_argument("--bitbudget", default=str(pathlib.Path(__file__).parent.parent /
                                                   "build/release/bitbudget"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    everything = []
    for budget in args.budgets.split(","):
        rows = {}
        for method in args.methods.split(","):
            if method not in METHODS:
                sys.exit(f"unknown method '{method}'; known are {', '.join(METHODS)}")
            evaluation = measure(args, method, budget)
            if evaluation is None:
                # Another method may still fit: uniform needs one format for all.
                if not args.json:
                    print(f"\n**{pathlib.Path(args.model).name}, {budget}**: {method} is infeasible")
                continue
            rows[method] = evaluation
        if args.json:
            everything += as_json(args, budget, rows)
        elif rows:
            table(args, budget, rows)
    if args.json:
        print(json.dumps(everything, indent=1))


if __name__ == "__main__":
    main()

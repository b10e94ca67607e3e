"""Tables of plans: the demo, search methods, and the claims of papers."""
import json
import re

from lab import ROOT, best_bold, interval, table, tables_in

RIVALS = "greedy,K-FAC sum,first-order,weighted-error,linearity,evolution,uniform,LIM order,ZD order,random order"
# Of these, the columns of README.md.
README_METHODS = ("greedy", "K-FAC sum", "linearity", "weighted-error", "evolution", "uniform", "LIM order", "random order")
RIVAL_BUDGETS = "2.25bpw,2.5bpw,3bpw,3.5bpw,4bpw,5bpw"
CLAIM_SCRIPTS = ("divergent_tokens", "layer_wise", "omniquant", "onebit", "freeze")


def demo(bench):
    """What tools/demo.sh prints, without its comparison and what tells a reader of README.md nothing."""
    probes = bench.choose(("48", "128"), ("16", "32"))
    out = bench.run("tools/demo.sh", environment={
        "BITBUDGET": bench.bitbudget, "DEMO_PROBES": probes[0], "DEMO_HELD_OUT_PROBES": probes[1]})
    plan, _, rest = out.partition("\n== The same size")
    continuations = "== Greedy continuations" + rest.partition("== Greedy continuations")[2]
    dropped = ("fingerprint", "written ", "FDT 75", "SDT", "divergent perplexity")
    lines = [line.rstrip() for line in plan.splitlines() if not line.strip().startswith(tuple(dropped))]
    lines = lines[lines.index(next(line for line in lines if line.startswith("== "))):]
    # The list of formats is the table of layers once more.
    lines = lines[:next(i for i, line in enumerate(lines) if line.startswith("format "))]
    lines += [""] + [line.rstrip() for line in continuations.splitlines()]
    return "```\n" + "\n".join(lines).strip() + "\n```"


def compare(bench, model, budgets, methods, probes, eval_probes, *options, as_json=True, encoder="clip"):
    """tools/compare.py: parsed JSON, or its tables."""
    plan_text, eval_text = bench.texts()
    texts = ["--plan-text", plan_text, "--eval-text", eval_text] if plan_text else []
    out = bench.script("tools/compare.py", bench.model(model), "--budgets", budgets, "--methods", methods,
                       "--encoder", encoder, "--probes", probes, "--eval-probes", eval_probes,
                       "--work", bench.work / f"compare-{model}-{encoder}-{probes}-{eval_probes}",
                       "--bitbudget", bench.bitbudget, *texts, *options, *(["--json"] if as_json else []))
    return json.loads(out) if as_json else out


def low_bits_rows(bench, as_json):
    return compare(bench, "novel-1m", bench.choose("2bpw,2.5bpw,3bpw,3.5bpw,4bpw", "2.5bpw,3.5bpw"),
                   bench.choose(RIVALS, "greedy,uniform,LIM order,ZD order,random order"),
                   bench.choose(48, 16), bench.choose(256, 64), encoder="gptq", as_json=as_json)


def low_bits(bench):
    """Text KL by budget and method, and what greedy is not ahead of in either KL."""
    rows = low_bits_rows(bench, True)
    measured = {row["method"] for row in rows}
    methods = [method for method in README_METHODS if method in measured]
    lines = []
    not_better = {"text_kl": [], "kl": []}
    for budget in dict.fromkeys(row["budget"] for row in rows):
        found = {row["method"]: row for row in rows if row["budget"] == budget}
        values = [found[method]["text_kl"] if method in found else None for method in methods]
        cells = ["-" if value is None else f"{value:.3g}" for value in values]
        lines.append([budget.removesuffix("bpw")] + best_bold(cells, values))
        for method, row in found.items():
            for kl, names in not_better.items():
                if method != "greedy" and row["greedy_minus_this"][f"{kl}_ci"][1] >= 0:
                    names.append(f"{method} at {budget}")
    verdict = " ".join(
        f"{measure}, greedy is significantly better (95 %, paired) than every other method at every size"
        + (f", but for {', '.join(names)}." if names else ".")
        for measure, names in (("By KL along text", not_better["text_kl"]),
                               ("By KL along greedy completions", not_better["kl"])))
    names = {"uniform": "best uniform"}
    return table(["bits per weight"] + [names.get(method, method) for method in methods], lines) + "\n\n" + verdict


def low_bits_intervals(bench):
    return tables_in(low_bits_rows(bench, False))


def methods_1m(bench):
    return tables_in(compare(bench, "novel-1m", bench.choose(RIVAL_BUDGETS, "3bpw"), RIVALS,
                             bench.choose(48, 16), bench.choose(256, 64), as_json=False))


def methods_8m(bench):
    return tables_in(compare(bench, "novel-8m", bench.choose(RIVAL_BUDGETS, "3bpw"), RIVALS,
                             bench.choose(32, 8), bench.choose(400, 32), as_json=False))


def searches(bench):
    """What searches compute, beside running every candidate that they considered."""
    methods = "greedy,K-FAC sum,additive exhaustive"
    rows = compare(bench, "novel-8m", bench.choose("4.5bpw,5bpw,6bpw", "4.5bpw"),
                   bench.choose(methods, "greedy,K-FAC sum"), bench.choose(32, 8), bench.choose(96, 32))
    return table(["budget", "method", "M rows x layers computed", "of naive", "KL"],
                 [[row["budget"], row["method"], f"{row['search']['computed'] / 1e6:.3g}",
                   f"{row['search']['computed'] / row['search']['naive']:.1%}",
                   interval(row["kl_mean"], row["kl_ci"], ".3g")] for row in rows])


def reproduce(bench, name, *options, model="novel-1m"):
    """The output of one script of tools/reproduce."""
    plan_text, eval_text = bench.texts()
    texts = ["--text", plan_text, "--eval-text", eval_text] if plan_text else []
    return bench.script(f"tools/reproduce/{name}.py", "--model", bench.model(model), "--bitbudget",
                        bench.bitbudget, "--work", bench.work / f"reproduce-{name}",
                        "--probes", bench.choose(64, 16), "--search-probes", bench.choose(48, 16), *texts, *options)


def omniquant_output(bench):
    return reproduce(bench, "omniquant", *bench.choose((), ("--weights", "int3z-g64")))


def onebit_output(bench):
    return reproduce(bench, "onebit", *bench.choose((), ("--steps", "20", "--sequences", "16")))


def freeze_output(bench):
    return reproduce(bench, "freeze", *bench.choose(
        (), ("--steps", "20", "--sequences", "16", "--formats", "int2-g64", "--factors", "1,10")))


def onebit(bench):
    """Trained one-bit layers beside 2-bit ones."""
    return tables_in(onebit_output(bench).partition("### Claim: trained")[2].replace("**On ", "On "))


def freeze(bench):
    """Gradients in distillation, and what learning rates and frozen matrices do to it."""
    out = freeze_output(bench)
    out = out[out.index("Squared gradient norms"):]
    out = re.sub(r"^(Squared|By layer|Text KL)(.*):$", r"**\1\2**", out, flags=re.MULTILINE)
    return tables_in(out.replace("**On ", "On "))


def omniquant(bench):
    out = re.sub(r"^(int\S+, activations \w+) \((.*?)\):$", r"**\1** (\2)", omniquant_output(bench), flags=re.MULTILINE)
    return tables_in(out.replace("**On ", "On "))


def plan_stages(bench):
    """Wall time of the phases of a whole plan with defaults, from its progress lines."""
    text = bench.texts()[0]
    command = [bench.bitbudget, "plan", bench.model("novel-8m"), "--budget", "4bpw", "--no-run-dir", "--json",
               "--out", str(bench.work / "stages.pb"), *(["--text", text] if text else []),
               *bench.choose([], ["--probes", "8", "--held-out-probes", "16"])]
    log = bench.run("sh", "-c", 'exec "$@" 2>&1 >/dev/null', "sh", *command)
    stages = {}
    for line in log.splitlines():
        found = re.match(r"(.+?): \d+ steps in (\d+):(\d+); (.+?), stage ", line)
        if found:
            phases = stages.setdefault(found[4], {})
            phases.setdefault(found[1], []).append(60 * int(found[2]) + int(found[3]))
    total = sum(sum(times) for phases in stages.values() for times in phases.values())
    return table(["stage", "phases, seconds", "seconds", "of all"],
                 [[stage, ", ".join(f"{phase} {' + '.join(map(str, times))}" for phase, times in phases.items()),
                   seconds := sum(map(sum, phases.values())), f"{seconds / max(total, 1):.0%}"]
                  for stage, phases in stages.items()])


def recovery(bench):
    """Text KL before and after training, by model, kind of plan and length of training."""
    probes = bench.choose(("--probes", "128"), ())
    budgets = bench.choose("2.0bpw,2.5bpw,3.0bpw,3.5bpw,4.0bpw", "2.5bpw")
    seeds = bench.choose("0,1,2", "0")
    short = bench.choose((), ("--steps", "20", "--sequences", "32"))
    longer = ("--methods", "distill", "--one-bit-methods", "onebit", "--steps", bench.choose("1200", "40"),
              "--sequences", bench.choose("512", "32"))
    formats = bench.choose((), ("--formats", "int3-g64"))
    searches = ",".join(f"3.0bpw:{name}" for name in ("additive", "greedy", "random", "layerwise", "uniform"))
    steps = bench.choose(("own steps", "1200 steps"), ("20 steps", "40 steps"))
    parts = [(f"novel-1m, {steps[0]}", (*formats, "--seeds", "0", *short)),
             (f"novel-1m, {steps[1]}", (*formats, "--seeds", seeds, *longer)),
             (f"novel-1m, additive plans, {steps[0]}",
              ("--formats", budgets, "--methods", "blockwise", "--seeds", seeds, *short)),
             (f"novel-1m, additive plans, {steps[1]}", ("--formats", budgets, "--seeds", "0", *longer)),
             ("novel-1m, plans of one size by different searches",
              ("--formats", searches, "--methods", "blockwise", "--seeds", "0", *short))]
    blocks = [f"**{title}**\n\n" + tables_in(reproduce(bench, "recovery", *probes, *options))
              for title, options in parts]
    eight = reproduce(bench, "recovery", *probes, "--formats", bench.choose("int3-g64,int2-g64,int4-g64", "int2-g64"),
                      "--methods", "blockwise", "--seeds", "0", *short, model="novel-8m")
    return "\n\n".join([*blocks, f"**novel-8m, {steps[0]}**\n\n" + tables_in(eight)]).replace("**On ", "On ")


def claims(bench):
    """One row per claim: what the paper says and what was found."""
    rows = []
    for name in CLAIM_SCRIPTS:
        if name == "omniquant":
            out = omniquant_output(bench)
        elif name == "onebit":
            out = onebit_output(bench)
        elif name == "freeze":
            out = freeze_output(bench)
        elif name == "divergent_tokens" and bench.texts()[0] is None:
            out = reproduce(bench, name, "--orders", "fdt,dppl")
        else:
            out = reproduce(bench, name)
        paper = re.search(r'"""(?:The claims?|The forward claim) of (.*?)\s*\((arXiv \S+?)\)',
                          (ROOT / f"tools/reproduce/{name}.py").read_text())
        source = f"[{paper[1]}](https://arxiv.org/abs/{paper[2].removeprefix('arXiv ')})"
        claim = ""
        for line in out.splitlines():
            if line.startswith("### Claim: "):
                claim = line.removeprefix("### Claim: ")
            verdict = re.match(r"\*\*On [\w-]+: (.*?)\.\*\* (.*)", line)
            if verdict:
                rows.append([source, f"`{name}.py`", claim, f"**{verdict[1]}**. {verdict[2]}"])
    return table(["paper", "script", "claim", "on novel-1m"], rows)

"""Tables beside llama.cpp: block formats, plans, whole models in one type."""
from lab import Missing, table, tables_in


def texts(bench):
    plan_text, eval_text = bench.texts()
    if plan_text is None:
        raise Missing("the scripts of tools/peer need --texts")
    return ["--calibration", plan_text, "--text", eval_text]


def mixes(bench):
    """Plans beside llama.cpp's own mixes, run by llama.cpp, and their paired differences."""
    out = bench.script("tools/peer/mixes.py", "--model", bench.model("novel-8m"), *texts(bench),
                       "--binary", bench.bitbudget, "--out", bench.work / "mixes",
                       "--probes", bench.choose(32, 8), "--held-out", bench.choose(128, 24),
                       "--budgets", *bench.choose(("3.5", "4.5", "5.5", "q3_k_m", "q4_k_m", "q5_k_m"),
                                                  ("4.5", "q4_k_m")),
                       environment=bench.llama_cpp(), threads=False)
    differences = [f"    {line}" for line in out.splitlines() if line.startswith("plan ")]
    return tables_in(out) + "\n\nPaired differences of KL (95 %):\n\n" + "\n".join(differences)


def recovered(bench):
    """Plans for llama.cpp before and after recovery, run by it."""
    return tables_in(bench.script("tools/peer/recovered.py", "--model", bench.model("novel-8m"), *texts(bench),
                                  "--binary", bench.bitbudget, "--out", bench.work / "recovered",
                                  "--windows", bench.choose(128, 16), "--sequences", bench.choose(128, 16),
                                  "--budgets", *bench.choose(("3.2MB", "4.0MB"), ("3.2MB",)),
                                  environment=bench.llama_cpp(), threads=False))


def promises(bench):
    """What text KL promises for plans with several roundings of activations, and what llama.cpp measures of their files."""
    parts = []
    for model in bench.choose(("novel-1m", "novel-8m"), ("novel-1m",)):
        out = bench.script("tools/peer/promises.py", "--model", bench.model(model), *texts(bench),
                           "--binary", bench.bitbudget, "--out", bench.work / f"promises-{model}",
                           "--windows", bench.choose(64, 16), "--attention",
                           "--mixes", *bench.choose(("q3_k_m", "q4_k_m", "q5_k_m"), ("q4_k_m",)),
                           environment=bench.llama_cpp())
        parts.append(f"**{model}**\n\n{tables_in(out)}")
    return "\n\n".join(parts)


def types(bench):
    """One type for the whole model: our codes and llama.cpp's."""
    return tables_in(bench.script("tools/peer/whole_model.py", "--model", bench.model("novel-8m"), *texts(bench),
                                  "--binary", bench.bitbudget, "--out", bench.work / "types",
                                  "--held-out", bench.choose(24, 8),
                                  "--types", *bench.choose(("q4_k", "q3_k", "q6_k", "q5_k", "q2_k", "iq4_xs", "q4_0",
                                                            "q8_0"), ("q4_k", "q2_k")),
                                  environment=bench.llama_cpp(), threads=False))


def block_encoders(bench):
    """Encoders of block formats beside ggml's. Exit code 1: one is worse, which the table shows."""
    out = bench.script("tools/peer/encoders.py", bench.program("format_tool"), bench.model("novel-8m"),
                       *bench.choose((), ("q4_k", "q2_k", "q8_0")), environment=bench.llama_cpp(), threads=False,
                       codes=(0, 1))
    if out.startswith("SKIPPED"):
        raise Missing("llama.cpp is not installed")
    # One row a format: the ratios of all matrices, and the speeds on the last, the largest.
    rows = {}
    for line in out.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| `"):
            continue
        row = rows.setdefault(cells[0], cells)
        for ratio in (4, 7):
            row[ratio] = cells[ratio] if row is cells else f"{row[ratio]}, {cells[ratio]}"
        row[8] = cells[8]
    return table(["format", "rtn", "clip", "ggml", "clip / ggml at 256, 768, t4", "imatrix, weighted", "ggml, weighted",
                  "imatrix / ggml at 256, 768, t4", "M weights/s: clip, imatrix, ggml plain, ggml with imatrix"],
                 list(rows.values()))

"""Tables of speed: what bitbudget-bench measures, each beside a baseline of the same run."""
import json

from lab import ROOT, table


def measure(bench, *options, tier=None, environment=None):
    """The parsed report of bitbudget-bench; machine and results."""
    rounds = bench.choose((), ("--repetitions", 1, "--min-seconds", 0))
    variables = {**(environment or {}), **({"BITBUDGET_CPU": tier} if tier else {})}
    out = bench.run(bench.program("bitbudget-bench"), *options, *rounds, "--json", environment=variables)
    return json.loads(out)


def machine(report):
    m = report["machine"]
    return f"{m['cpu']}, {m['cores']} cores, load {m['load']:.1f}, {m['compiler']} {m['flags']}"


def small_model(bench):
    return bench.choose((), ("--model", ROOT / "tools/demo/models/novel-1m", "--tokens", 64))


def significant(value):
    return f"{value:.3g}"


TIERS = ("avx2", "avx512vnni")
PATHS = [("sgemm", "f32"), ("F", "f32"), ("I", "int8-g32"), ("I", "int8-g128"), ("V", "int8-g32"), ("V", "int8-g128"),
         *[("U", f"int4{zero}-g{group}") for zero in ("", "z") for group in (32, 64, 128)]]


def linear(bench, n, tier):
    rows = bench.choose("1,6,24,48,240,512", "1,24,240")
    return measure(bench, "linear", "--m", rows, "--n", n, "--threads", 1, tier=tier)


def products(bench):
    """GMAC/s of products by tier, outputs and rows."""
    rows = []
    for tier in TIERS:
        for n in bench.choose((1920, 5632), (1920,)):
            report = linear(bench, n, tier)
            speeds = {(r["m"], r["path"], r["format"]): r["gmac_per_s"] for r in report["results"]}
            for m in sorted({r["m"] for r in report["results"]}):
                rows.append([f"`{tier}`, {n}, {m}"]
                            + [significant(speeds[m, *path]) if (m, *path) in speeds else "" for path in PATHS])
    names = [path if path in ("sgemm", "F") else f"{path} {name}"
             for path, name in PATHS]
    return f"{machine(report)}.\n\n" + table(["tier, n, rows; GMAC/s", *names], rows)


def ratios(bench):
    """Ratio to sgemm of the cases that have a target."""
    found = {}
    for tier in TIERS:
        for n in bench.choose((1920, 5632), (1920,)):
            for r in linear(bench, n, tier)["results"]:
                if r["target"] is not None:
                    key = f"`{tier}` {r['path']}", r["format"], r["m"], r["target"]
                    found.setdefault(key, {})[n] = r["ratio"], r["met"]
    widths = sorted({n for by_n in found.values() for n in by_n})
    return table(["times sgemm", "rows", "target", *[f"n = {n}" for n in widths]],
                 [[f"{path} {name}", m, target]
                  + [f"{by_n[n][0]:.2f}, {'met' if by_n[n][1] else 'missed'}" if n in by_n else "" for n in widths]
                  for (path, name, m, target), by_n in found.items()])


def tiles(bench):
    """Tiles of packed operands, and the share of their instructions' bound."""
    rows = []
    paths = [path for path in PATHS if path[0] != "sgemm" and "z" not in path[1]]
    for tier in TIERS:
        report = measure(bench, "kernels", "--m", 240, "--n", 1920, "--threads", 1, tier=tier)
        found = {(r["path"], r["format"]): r for r in report["results"]}
        rows.append([f"`{tier}`"] + [f"{significant(found[path]['gmac_per_s'])} ({found[path]['ratio']:.2f})"
                                     for path in paths])
    return table(["GMAC/s (share of the bound)", *[f"{path} {name}" for path, name in paths]], rows)


def model(bench):
    """Prefill and decode of a whole model."""
    rows = {}
    for activations in ("int16", "int8"):
        for name, field in (("prefill", "gmac_per_s"), ("decode", "gb_per_s")):
            options = small_model(bench) if name == "prefill" else small_model(bench)[:2]
            report = measure(bench, name, *options, "--activations", activations, "--threads", 1)
            for r in report["results"]:
                if r["target"] is not None:
                    rows.setdefault((r["format"], activations), {})[name] = (
                        significant(r[field]), f"{r['ratio']:.3f}, {'met' if r['met'] else 'missed'}")
    return table(["weights, activations", "prefill, GMAC/s", "of `linear` (target 0.80)", "decode, GB/s",
                  "of a plain read (target 0.85)"],
                 [[f"{name}, {activations}", *found.get("prefill", ("", "")), *found.get("decode", ("", ""))]
                  for (name, activations), found in rows.items()])


def threads(bench):
    """Decoding on two threads, as OpenMP waits by default and as it waits where cores are shared."""
    rows = []
    for label, environment in (("as OpenMP waits by default", {"OMP_WAIT_POLICY": "active"}),
                               ("`OMP_WAIT_POLICY=passive`", {"OMP_WAIT_POLICY": "passive"})):
        report = measure(bench, "decode", *small_model(bench)[:2], "--formats", "int4-g128", "--activations", "int8",
                         "--threads", 2, environment=environment)
        r = next(r for r in report["results"] if r["path"] == "U")
        rows.append([label, significant(r["gb_per_s"]), f"{r['ratio']:.2f} (spread {r['spread']:.0%})"])
    return table(["two threads, int4-g128 on U", "decode, GB/s", "of a read with two threads"], rows)


def candidates(bench):
    """Candidates of a search on novel-1m beside a full pass."""
    report = measure(bench, "search", "--threads", 1)
    results = report["results"]
    single = [r for r in results if r["path"] == "candidate" and r["format"] != "mean of them"]
    shown = [r for r in results if r["path"] == "full pass, 16 probes" or r["format"] == "mean of them"]
    shown[1:1] = [single[0], single[-1]]
    rows = [[r["path"] + (f", {r['format'].removeprefix('model.')}" if r["path"] != "full pass, 16 probes" else ""),
             significant(r["per_s"]), f"{r['ratio']:.2f}"] for r in shown]
    return table(["novel-1m", "per second", "times a full pass"], rows)


def encode(bench):
    """Weights per second of one core, by encoder."""
    rows = []
    for k in bench.choose((2048, 4096), (1024,)):
        report = measure(bench, "encode", "--formats", "int3z-g64", "--activations", "int16", "--k", k, "--n", 512,
                         "--threads", 1)
        speeds = {r["path"]: r["per_s"] for r in report["results"]}
        rows.append([f"k = {k:,}, n = 512"] + [f"{speed / 1e6:.3g} M" for speed in speeds.values()])
    return table(["weights/s", *speeds], rows)

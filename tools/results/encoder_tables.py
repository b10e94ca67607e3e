"""Tables of encoders: KL of whole models in one format, errors of weights, equalising."""
import json
import shutil

from lab import best_bold, table


def whole_model(bench, model, formats, encoders, pins=(), gaps=()):
    """KL and perplexity of a model in one format, by encoder."""
    lab = bench.lab(model, bench.choose(64, 16))
    rows = []
    for name in formats:
        found = [None if (name, encoder) in gaps else lab.evaluate(pins, uniform=name, encoder=encoder)
                 for encoder in encoders]
        values = [e and e["kl_mean"] for e in found]
        cells = ["" if e is None else f"{e['kl_mean']:.3g}" for e in found]
        perplexities = ["" if e is None or not e["ppl_candidate"] else f", {e['ppl_candidate']:.2f}" for e in found]
        rows.append([name] + [cell + more for cell, more in zip(best_bold(cells, values), perplexities)])
    first = next(e for e in found if e)
    reference = f" (text: {first['ppl_reference']:.2f})" if first["ppl_reference"] else ""
    return table([f"{model}{reference}, KL{', perplexity' if reference else ''}", *encoders], rows)


def encoders_8m(bench):
    formats = bench.choose(("int4z-g64", "int3z-g64", "int2z-g64", "q3_k", "q2_k"), ("int3z-g64",))
    return whole_model(bench, "novel-8m", formats,
                       bench.choose(("rtn", "clip", "imatrix", "gptq", "gptq-guided", "auto"),
                                    ("rtn", "clip", "imatrix", "gptq")),
                       gaps=[(name, "auto") for name in ("q3_k", "q2_k", "int4z-g64")])


def encoders_1m(bench):
    formats = ("int4z-g64", "int3z-g64", "int2z-g64", "int4-g64", "int3-g64", "int2-g64")
    return whole_model(bench, "novel-1m", bench.choose(formats, ("int3z-g64",)),
                       ("rtn", "clip", "imatrix", "gptq", "gptq-guided", "auto"))


def lwc(bench, model, formats):
    encoders = ("rtn", "clip", "imatrix", "lwc", "lwc+block", "gptq", "gptq+block")
    return whole_model(bench, model, formats, encoders, pins=("model.embed_tokens=bf16",))


def lwc_1m(bench):
    return lwc(bench, "novel-1m", bench.choose(("int4z-g64", "int3z-g64", "int2z-g64"), ("int3z-g64",)))


def lwc_8m(bench):
    return lwc(bench, "novel-8m", bench.choose(("int3z-g64", "int2z-g64"), ("int3z-g64",)))


def equalize(bench):
    """Relative output errors of layers on sequences held aside, before and after."""
    model = bench.choose("novel-8m", "novel-1m")
    text = ["--text", bench.texts()[0]] if bench.texts()[0] else []
    rows = []
    for name, activations in (("int4z-g64", "int16"), ("int2z-g64", "int16"), ("int4z-g64", "token4")):
        folder = bench.work / f"equalized-{model}-{name}-{activations}"
        shutil.rmtree(folder, ignore_errors=True)  # of an interrupted run; its own output is kept elsewhere
        layers = json.loads(bench.run(bench.bitbudget, "equalize", bench.model(model), "--format", name, "--activations",
                                      activations, "--out", folder, "--json", *text))["layers"]

        def mean(key):
            return sum(layer[key] for layer in layers) / len(layers)

        rows.append([name, activations, f"{mean('held_error_before'):.3g}", f"{mean('held_error_after'):.3g}"])
    return table([f"format, {model}", "activations", "before", "after"], rows)


def errors(bench, formats, columns):
    """Relative errors of weights by format: of rtn, clip and MLX on normal, heavy-tailed and real weights."""
    encode = bench.script("tools/results/weight_errors.py", bench.program("format_tool"), bench.model("novel-8m"),
                          bench.choose(1 << 18, 1 << 16), *formats, threads=False)
    found = json.loads(encode)
    rows = []
    for name in formats:
        by_weights = found[name]
        cells = []
        for column in columns:
            kind, weights = column
            if kind in RIVALS:
                value = by_weights[weights]["clip"] / by_weights[weights][RIVALS[kind]]
                cells.append(f"{value:.3f}")
            else:
                cells.append(f"{100 * by_weights[weights][kind] ** 0.5:.3g} %")
        rows.append([f"`{name}`", *cells])
    names = {"normal": "normal", "t4": "Student t", "model": "novel-8m"}
    kinds = {"ratio": "clip / rtn", "to mlx": "clip / MLX", "rtn": "rtn", "clip": "clip"}
    return table(["format"] + [f"{kinds[kind]}, {names[weights]}" for kind, weights in columns], rows)


RIVALS = {"ratio": "rtn", "to mlx": "mlx"}  # what clip's error is a ratio to
RATIOS = [("ratio", weights) for weights in ("normal", "t4", "model")]


def format_errors(bench):
    formats = [f"int{bits}{zero}{group}" for bits in (8, 4) for zero in ("", "z")
               for group in ("", "-g32", "-g64", "-g128") if bits == 8 or group]
    return errors(bench, formats, [("rtn", "normal"), *RATIOS])


def affine_errors(bench):
    formats = [f"affine{bits}-g{group}" for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
    return errors(bench, formats, [("clip", "normal"), ("clip", "model"),
                                   *(("to mlx", weights) for weights in ("normal", "t4", "model"))])


def low_bit_errors(bench):
    formats = [f"int{bits}{zero}-g{group}" for bits in (3, 2) for zero in ("", "z") for group in (32, 64, 128)]
    formats += ["onebit", "bf16+s50", "bf16+2:4", "int4-g64+s50", "int4-g64+2:4"]
    return errors(bench, formats, [("rtn", "normal"), *RATIOS, ("clip", "normal"), ("clip", "t4"), ("clip", "model")])

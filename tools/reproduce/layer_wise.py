#!/usr/bin/env python3
"""The claims of Layer-Wise Quantization (arXiv 2406.17415) on a model of yours.

1. Layers moved to the lower of two widths in LIM or ZD order: quality stays near that of the higher
   width for 25 to 50 % of the layers, in random order for 5 to 10 %.
2. Quantizing to fewer bits beats pruning whole layers of the same size, except at 2 bits.
"""
import random

from common import Lab, claim, geometric_mean, parser, quality, table, verdict

NEAR = 1.05  # perplexity at most 5 % above that with every layer at the higher width


def pins(layers, low, high):
    """Every layer at `high`, those listed at `low`."""
    result = [rf"layers\.={high}"]
    if layers:
        result.append(rf"layers\.({'|'.join(map(str, layers))})\.={low}")
    return result


def ordering(lab, args, high, low):
    least_first = {
        "LIM": list(reversed(lab.score("--scorer", "lim", "--probes", args.search_probes)["order"])),
        "ZD": list(reversed(lab.score("--scorer", "zd")["order"])),
    }
    count = lab.layers()
    rng = random.Random(args.seed)
    shuffled = []
    for _ in range(args.orders):
        order = list(range(count))
        rng.shuffle(order)
        shuffled.append(order)

    def perplexity(layers):
        return quality(lab.evaluate(pins(sorted(layers), low, high), encoder=args.encoder))

    base = perplexity([])
    everything = perplexity(range(count))
    rows = []
    near = {"LIM": 0, "ZD": 0, "random": 0}
    for lowered in range(1, count):
        ratio = {name: perplexity(order[:lowered]) / base for name, order in least_first.items()}
        ratio["random"] = geometric_mean([perplexity(order[:lowered]) / base for order in shuffled])
        for name, value in ratio.items():
            if value <= NEAR and near[name] == lowered - 1:
                near[name] = lowered
        rows.append([f"{lowered} of {count} ({lowered / count:.0%})"]
                    + [f"{ratio[name]:.3f}" for name in near])
    rows.append(["all", f"{everything / base:.3f}", "", ""])
    print(f"Perplexity relative to all layers in {high}, so many of them in {low} "
          f"(random: geometric mean of {args.orders} orders):\n")
    table(["layers lowered", "LIM order", "ZD order", "random order"], rows)
    if everything / base <= NEAR:
        return verdict(lab, None, f"Even with all layers in {low} perplexity is within 5 %: "
                       "these widths do not hurt this model enough to tell orders apart.")
    share = {name: layers / count for name, layers in near.items()}
    best = max(share["LIM"], share["ZD"])
    verdict(lab, best >= 0.25 and share["random"] < best,
            f"Within 5 % of the higher width's perplexity: LIM {share['LIM']:.0%}, "
            f"ZD {share['ZD']:.0%}, random {share['random']:.0%} of the layers.")


def pruning(lab, args, high, low):
    """Lowering 2m layers from 2b to b bits saves what removing m layers does."""
    order = list(reversed(lab.score("--scorer", "lim", "--probes", args.search_probes)["order"]))
    rows = []
    wins = []
    for removed in range(1, max(2, lab.layers() // 2)):
        lowered = lab.evaluate(pins(sorted(order[:2 * removed]), low, high), encoder=args.encoder)
        pruned = lab.evaluate(pins(sorted(order[:removed]), "removed", high), encoder=args.encoder)
        wins.append(quality(lowered) < quality(pruned))
        rows.append([removed, f"{lowered['bits_per_weight']:.2f}", f"{quality(lowered):.2f}",
                     f"{pruned['bits_per_weight']:.2f}", f"{quality(pruned):.2f}"])
    print(f"From all layers in {high}, least important (LIM) first: 2m layers to {low}, or m layers removed.\n")
    table(["m", f"bits per weight, 2m in {low}", "perplexity", "bits per weight, m removed", "perplexity"],
          rows)
    return wins


def main():
    args = parser(__doc__)
    args.add_argument("--encoder", default="rtn", help="the papers use plain rounding (Quanto)")
    args.add_argument("--orders", type=int, default=5, help="random orders")
    args = args.parse_args()
    lab = Lab(args)
    claim("LIM and ZD keep quality until 25-50 % of the layers are lowered, random order 5-10 %")
    for high, low in (("int8-g64", "int4-g64"), ("int4-g64", "int2-g64")):
        ordering(lab, args, high, low)
    claim("quantizing beats pruning layers of the same size, except at 2 bits")
    four = pruning(lab, args, "int8-g64", "int4-g64")
    two = pruning(lab, args, "int4-g64", "int2-g64")
    verdict(lab, all(four) and not any(two),
            f"At 4 bits quantizing wins {sum(four)} of {len(four)} times, at 2 bits {sum(two)} of {len(two)}.")


if __name__ == "__main__":
    main()

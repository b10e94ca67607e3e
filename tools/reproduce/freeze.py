#!/usr/bin/env python3
"""The forward claim of Oh! We Freeze (arXiv 2403.18159) on a model of yours.

Of the attention's matrices, the output and the value projections are the most vulnerable to 4-bit
weights. The paper sees it in gradients while training; here it is measured forward, without any:
the divergence of the model with all matrices of one type in the format, and signal propagation
(`bitbudget score --scorer signal`).
"""
from common import Lab, claim, kl_text, parser, table, verdict

TYPES = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "o_proj",
         "gate": "gate_proj", "up": "up_proj", "down": "down_proj"}


def main():
    args = parser(__doc__)
    args.add_argument("--format", default="int4-g128")
    args.add_argument("--encoder", default="rtn")
    args = args.parse_args()
    lab = Lab(args)
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


if __name__ == "__main__":
    main()

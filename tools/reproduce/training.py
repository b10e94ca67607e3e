"""What the scripts share that train: plans of one format, recoveries of them, both kept in --work."""
import json
import re
import resource


def add_options(parser, steps, sequences):
    parser.add_argument("--sequences", type=int, default=sequences)
    parser.add_argument("--steps", type=int, default=steps,
                        help=f"of every method (default: {steps or 'its own number'})")


class Trainer:
    """Recovers plans of a lab's model; all trainings take the same steps on the same sequences."""

    def __init__(self, lab):
        self.lab, self.args = lab, lab.args

    def start(self, name, encoder):
        """Path of the plan that has every layer in the format, embedding and head as stored; or of
        a plan for a budget such as 2.5bpw (by the additive search) or 2.5bpw:random."""
        budget, _, search = name.partition(":")
        if budget.endswith("bpw"):
            return self.lab.plan(f"{budget}-{search or 'additive'}-{encoder}", "--budget", budget,
                                 "--encoder", encoder, "--search", search or "additive",
                                 "--held-out-probes", "2")[1]
        return self.lab.plan(f"{name}-{encoder}", "--budget", "100%", "--encoder", encoder,
                             "--search", "uniform", "--held-out-probes", "2",
                             "--pin", rf"layers\.={name}",
                             "--pin", f"embed|head={self.lab.stored_format()}")[1]

    def recover(self, plan, methods, seed, *options):
        """(path of the recovered plan, what the command said and the "cpu_seconds" of when it was made)."""
        asked = "-".join([methods, str(self.args.sequences), str(self.args.steps or "own"), str(seed),
                          *(re.sub(r"\W+", "", str(option)) for option in options)])
        out = self.args.work / f"{plan.name.removesuffix('.plan.json')}-{asked}.pb"
        kept = out.with_suffix(".report.json")
        if not kept.exists():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            steps = ["--steps", self.args.steps] if self.args.steps else []
            text = ["--text", self.args.text, "--calibration", self.args.text] if self.args.text else []
            said = self.lab.call("recover", "--plan", plan, "--method", methods, "--out", out,
                                 "--seed", seed, "--held-out-probes", 2, "--sequences",
                                 self.args.sequences, *steps, *text, *options, "--json")
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            report = json.loads(said)
            report["cpu_seconds"] = (after.ru_utime + after.ru_stime
                                     - before.ru_utime - before.ru_stime)
            kept.write_text(json.dumps(report))
        return out, json.loads(kept.read_text())


def text_kl(evaluation):
    low, high = evaluation["text_kl_ci"]
    return f"{evaluation['text_kl']:.4f} [{low:.4f}, {high:.4f}]"


def lower(a, b):
    """Whether the text KL of a is below that of b; None where their intervals overlap."""
    if a["text_kl_ci"][1] < b["text_kl_ci"][0]:
        return True
    return False if b["text_kl_ci"][1] < a["text_kl_ci"][0] else None

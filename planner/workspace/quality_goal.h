#ifndef BITBUDGET_PLANNER_WORKSPACE_QUALITY_GOAL_H_
#define BITBUDGET_PLANNER_WORKSPACE_QUALITY_GOAL_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/eval/metrics.h"

namespace bitbudget {

// How close to the original model a plan must be, as users write it, in place of a budget.
struct QualityGoal {
  enum class Measure : uint8_t {
    kTextKl,         // Statistic::kTextKl, nats per token
    kCompletionKl,   // Statistic::kKlMean, nats per token
    kTextTop1,       // Top1Agreement along text, in [0, 1]
    kFdt,            // Statistic::kFdtMean, tokens
    kTextPerplexity  // growth: the perplexity of text over the original's, minus 1
  };
  Measure measure = Measure::kTextKl;
  double bound = 0;  // in the measure's unit
  std::string text;  // as written

  // How far a value of the measure is from the original model: positive, smaller is better, in a
  // unit whose logarithm falls about linearly with a model's size (divergence, share of other
  // tokens, growth of perplexity, 1 / FDT).
  double Distance(double value) const;
};

// "text_kl<=0.01", "kl<=0.01", "top1>=99%", "fdt>=50", "ppl<=+1%" (perplexity at most 1 % above the
// original's). kInvalidArgument naming the text and the forms.
absl::StatusOr<QualityGoal> ParseQualityGoal(absl::string_view text);

// What an evaluation says of a goal.
struct GoalReading {
  double value = 0;   // in the measure's unit
  Interval interval;  // 95 % over probes
  double distance = 0;
  double safe_distance = 0;  // of the interval's worse end
  bool met = false;          // the worse end is within the bound
};
// `reference`: the original model on the same probes (ReferenceRun::Own).
GoalReading ReadGoal(const QualityGoal& goal,
                     const Evaluation& reference,
                     const Evaluation& evaluation);

// A value of the measure as users read it: "0.0091", "99.1 %", "52.3 tokens", "+0.8 %".
std::string GoalValueText(const QualityGoal& goal, double value);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_WORKSPACE_QUALITY_GOAL_H_

#include "planner/workspace/quality_goal.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace bitbudget {
namespace {

using Measure = QualityGoal::Measure;

// Below what any measurement can tell from 0.
constexpr double kLeastDistance = 1e-9;

struct MeasureInfo {
  const char* name;
  Measure measure;
  const char* comparison;
  const char* prefix;  // of the bound
  const char* suffix;
  double factor;  // of what is written
  double least, most;
};

constexpr MeasureInfo kMeasures[] = {
    {"text_kl", Measure::kTextKl, "<=", "", "", 1, 0, 100},
    {"kl", Measure::kCompletionKl, "<=", "", "", 1, 0, 100},
    {"top1", Measure::kTextTop1, ">=", "", "%", 0.01, 0, 1},
    {"fdt", Measure::kFdt, ">=", "", "", 1, 0, 1e6},
    {"ppl", Measure::kTextPerplexity, "<=", "+", "%", 0.01, 0, 100},
};

absl::Status NotUnderstood(absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat(
      "goal '",
      text,
      "' is not understood; write text_kl<=0.01 or kl<=0.01 (nats per token), top1>=99%, fdt>=50 "
      "(tokens) or ppl<=+1% (perplexity above the original model's)"));
}

bool LargerIsBetter(Measure measure) {
  return measure == Measure::kTextTop1 || measure == Measure::kFdt;
}

}  // namespace

double QualityGoal::Distance(double value) const {
  switch (measure) {
    case Measure::kTextTop1:
      return std::max(1 - value, kLeastDistance);
    case Measure::kFdt:
      return 1 / std::max(value, kLeastDistance);
    case Measure::kTextKl:
    case Measure::kCompletionKl:
    case Measure::kTextPerplexity:
      break;
  }
  return std::max(value, kLeastDistance);
}

absl::StatusOr<QualityGoal> ParseQualityGoal(absl::string_view text) {
  std::string plain = absl::StrReplaceAll(text, {{" ", ""}});
  std::replace(
      plain.begin(), plain.begin() + std::min(plain.find_first_of("<>"), plain.size()), '-', '_');
  for (const MeasureInfo& info : kMeasures) {
    absl::string_view number = plain;
    if (!absl::ConsumePrefix(&number, absl::StrCat(info.name, info.comparison))) continue;
    double value = 0;
    if (absl::ConsumePrefix(&number, info.prefix) && absl::ConsumeSuffix(&number, info.suffix) &&
        number.find_first_not_of("0123456789.eE-") == absl::string_view::npos &&
        absl::SimpleAtod(number, &value)) {
      const double bound = value * info.factor;
      if (bound > info.least && bound < info.most) {
        return QualityGoal{info.measure, bound, std::string(text)};
      }
    }
    break;
  }
  return NotUnderstood(text);
}

GoalReading ReadGoal(const QualityGoal& goal,
                     const Evaluation& reference,
                     const Evaluation& evaluation) {
  GoalReading reading;
  const auto read = [&](Statistic statistic) {
    reading.value = Compute(statistic, evaluation);
    reading.interval = BootstrapInterval(statistic, evaluation);
  };
  switch (goal.measure) {
    case Measure::kTextKl:
      read(Statistic::kTextKl);
      break;
    case Measure::kCompletionKl:
      read(Statistic::kKlMean);
      break;
    case Measure::kFdt:
      read(Statistic::kFdtMean);
      break;
    case Measure::kTextTop1:
      reading.value = Top1Agreement(Along::kText, evaluation);
      reading.interval = Top1AgreementInterval(Along::kText, evaluation);
      break;
    case Measure::kTextPerplexity:
      reading.value =
          Compute(Statistic::kTextPpl, evaluation) / Compute(Statistic::kTextPpl, reference) - 1;
      reading.interval = PairedRatioInterval(Statistic::kTextPpl, evaluation, reference);
      reading.interval.low -= 1;
      reading.interval.high -= 1;
      break;
  }
  const bool larger = LargerIsBetter(goal.measure);
  const double worse = larger ? reading.interval.low : reading.interval.high;
  reading.distance = goal.Distance(reading.value);
  reading.safe_distance = goal.Distance(worse);
  reading.met = larger ? worse >= goal.bound : worse <= goal.bound;
  return reading;
}

std::string GoalValueText(const QualityGoal& goal, double value) {
  switch (goal.measure) {
    case Measure::kTextTop1:
      return absl::StrFormat("%.2f %%", 100 * value);
    case Measure::kTextPerplexity:
      return absl::StrFormat("%+.2f %%", 100 * value);
    case Measure::kFdt:
      return absl::StrFormat("%.1f", value);
    case Measure::kTextKl:
    case Measure::kCompletionKl:
      break;
  }
  return absl::StrFormat("%.3g", value);
}

}  // namespace bitbudget

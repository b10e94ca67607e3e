#include <algorithm>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "plans/validate.h"
#include "plans/validate_internal.h"
#include "runtime/base/status_macros.h"
#include "runtime/tensor/format.h"

namespace bitbudget::internal {
namespace {

// Percentiles interpolate between two counts, which may leave the range by a few units in the last
// place.
constexpr double kInterpolationSlack = 4 * std::numeric_limits<double>::epsilon();

using NameSet = std::set<absl::string_view>;

}  // namespace

absl::Status CheckInterval(const plans::Interval& interval,
                           const std::string& path,
                           double low,
                           double high) {
  if (!(low <= interval.low() && interval.low() <= interval.high() && interval.high() <= high)) {
    return Bad(path,
               "[",
               interval.low(),
               ", ",
               interval.high(),
               "] is not an interval within [",
               low,
               ", ",
               high,
               "]");
  }
  return absl::OkStatus();
}

absl::Status CheckMetrics(const plans::Metrics& m,
                          const std::string& path,
                          int64_t completion_tokens,
                          Intervals intervals) {
  constexpr double kAny = std::numeric_limits<double>::max();
  const double tokens = static_cast<double>(completion_tokens) * (1 + kInterpolationSlack);
  struct Row {
    const char* name;
    const char* interval_name;  // null: has none
    double value;
    const plans::Interval* interval;  // null: absent
    double low, high;
  };
  const auto present = [](bool has, const plans::Interval& interval) {
    return has ? &interval : nullptr;
  };
  const Row rows[] = {
      {".fdt_mean",
       ".fdt_interval",
       m.fdt_mean(),
       present(m.has_fdt_interval(), m.fdt_interval()),
       0,
       tokens},
      {".fdt_75",
       ".fdt_75_interval",
       m.fdt_75(),
       present(m.has_fdt_75_interval(), m.fdt_75_interval()),
       0,
       tokens},
      {".sdt_mean",
       ".sdt_interval",
       m.sdt_mean(),
       present(m.has_sdt_interval(), m.sdt_interval()),
       0,
       tokens},
      {".dppl",
       ".dppl_interval",
       m.dppl(),
       present(m.has_dppl_interval(), m.dppl_interval()),
       1 - kNatsSlack,
       kAny},
      {".kl_mean",
       ".kl_interval",
       m.kl_mean(),
       present(m.has_kl_interval(), m.kl_interval()),
       -kNatsSlack,
       kAny},
      {".top1_agreement", nullptr, m.top1_agreement(), nullptr, 0, 1},
  };
  for (const Row& row : rows) {
    if (row.value < row.low || row.value > row.high) {
      return Bad(path + row.name, row.value, " is outside [", row.low, ", ", row.high, "]");
    }
    if (row.interval != nullptr) {
      BB_RETURN_IF_ERROR(CheckInterval(*row.interval, path + row.interval_name, row.low, row.high));
    } else if (row.interval_name != nullptr && intervals == Intervals::kRequired) {
      return Bad(path + row.interval_name, "missing");
    }
  }
  if (!m.has_top1_interval()) return absl::OkStatus();  // as in plans of older versions
  return CheckInterval(m.top1_interval(), path + ".top1_interval", 0, 1 + kInterpolationSlack);
}

absl::Status CheckTextDivergence(const plans::TextDivergence& text, const std::string& path) {
  constexpr double kAny = std::numeric_limits<double>::max();
  const double kl = text.kl_mean();
  if (kl < -kNatsSlack) return Bad(path + ".kl_mean", kl, " is negative");
  const double top1 = text.top1_agreement();
  if (top1 < 0 || top1 > 1) return Bad(path + ".top1_agreement", top1, " is outside [0, 1]");
  if (!text.has_kl_interval()) return Bad(path + ".kl_interval", "missing");
  if (!text.has_top1_interval()) return Bad(path + ".top1_interval", "missing");
  BB_RETURN_IF_ERROR(CheckInterval(text.kl_interval(), path + ".kl_interval", -kNatsSlack, kAny));
  if (text.has_kl_999() != text.has_kl_999_interval()) {
    return Bad(path, "kl_999 and kl_999_interval are given together");
  }
  if (text.has_kl_999()) {
    if (text.kl_999() < -kNatsSlack) return Bad(path + ".kl_999", text.kl_999(), " is negative");
    BB_RETURN_IF_ERROR(
        CheckInterval(text.kl_999_interval(), path + ".kl_999_interval", -kNatsSlack, kAny));
  }
  return CheckInterval(text.top1_interval(), path + ".top1_interval", 0, 1 + kInterpolationSlack);
}

namespace {

// What was measured along text goes with what was measured along completions.
absl::Status CheckTextDivergences(const plans::HeldOut& held_out) {
  constexpr double kAny = std::numeric_limits<double>::max();
  if (held_out.has_plan_text()) {
    if (!held_out.has_plan()) return Bad("held_out.plan_text", "given without held_out.plan");
    BB_RETURN_IF_ERROR(CheckTextDivergence(held_out.plan_text(), "held_out.plan_text"));
  }
  const bool both = held_out.has_plan_text() && held_out.has_uniform();
  if (held_out.has_uniform_text() != both || held_out.has_text_kl_difference() != both) {
    return Bad("held_out",
               "uniform_text and text_kl_difference are given together, with plan_text and "
               "uniform");
  }
  if (!both) return absl::OkStatus();
  BB_RETURN_IF_ERROR(CheckTextDivergence(held_out.uniform_text(), "held_out.uniform_text"));
  return CheckInterval(held_out.text_kl_difference(), "held_out.text_kl_difference", -kAny, kAny);
}

absl::Status CheckSearch(const plans::Plan& plan, const NameSet& names) {
  const plans::Search& search = plan.search();
  const int64_t tokens = plan.options().completion_tokens();
  for (int i = 0; i < search.trace_size(); ++i) {
    const plans::TraceStep& step = search.trace(i);
    const std::string path = absl::StrCat("search.trace[", i, "]");
    if (step.what().empty()) return Bad(path + ".what", "empty");
    for (int j = 0; j < step.changes_size(); ++j) {
      const plans::Change& change = step.changes(j);
      const std::string at = absl::StrCat(path, ".changes[", j, "]");
      if (!names.contains(change.component())) {
        return Bad(at + ".component", "'", change.component(), "' is not a component of the plan");
      }
      BB_RETURN_IF_ERROR(CheckFormat(change.format(), at + ".format").status());
    }
    if (step.size_bytes() < plan.model().fixed_bytes()) {
      return Bad(path + ".size_bytes", step.size_bytes(), " is less than model.fixed_bytes");
    }
    if (step.fdt_mean() == 0 && step.dppl() == 0 && step.kl_mean() == 0) continue;  // not run
    plans::Metrics metrics;
    metrics.set_fdt_mean(step.fdt_mean());
    metrics.set_dppl(step.dppl());
    metrics.set_kl_mean(step.kl_mean());
    BB_RETURN_IF_ERROR(CheckMetrics(metrics, path, tokens, Intervals::kOptional));
    if (step.text_kl() < -kNatsSlack) return Bad(path + ".text_kl", step.text_kl(), " is negative");
  }
  if (!search.has_search_probes()) return absl::OkStatus();
  return CheckMetrics(search.search_probes(), "search.search_probes", tokens, Intervals::kOptional);
}

// What was measured along completions.
absl::Status CheckComparison(const plans::Plan& plan) {
  const plans::HeldOut& held_out = plan.held_out();
  const int64_t tokens = plan.options().completion_tokens();
  if (held_out.has_plan()) {
    BB_RETURN_IF_ERROR(
        CheckMetrics(held_out.plan(), "held_out.plan", tokens, Intervals::kRequired));
  } else if (plan.complete() && !ChangesNothing(plan)) {
    return Bad("held_out.plan", "missing from a complete plan");
  }
  if (held_out.has_noise_floor()) {
    BB_RETURN_IF_ERROR(
        CheckMetrics(held_out.noise_floor(), "held_out.noise_floor", tokens, Intervals::kOptional));
  }
  if (held_out.uniform_format().empty()) {
    if (held_out.uniform_size_bytes() != 0 || held_out.has_uniform() ||
        held_out.has_fdt_difference() || held_out.has_kl_difference() ||
        held_out.uniform_emitted()) {
      return Bad("held_out.uniform_format", "empty, but other fields describe a uniform format");
    }
    return absl::OkStatus();
  }
  BB_ASSIGN_OR_RETURN(const Format uniform,
                      CheckFormat(held_out.uniform_format(), "held_out.uniform_format"));
  if (plan.options().target().empty()) {
    BB_RETURN_IF_ERROR(
        CheckUniformSize(plan, std::vector<Format>(plan.components_size(), uniform)));
  }
  if (!held_out.has_uniform() || !held_out.has_fdt_difference() || !held_out.has_kl_difference()) {
    if (!plan.complete() && !held_out.has_plan()) return absl::OkStatus();
    return Bad("held_out", "uniform, fdt_difference and kl_difference are given together");
  }
  BB_RETURN_IF_ERROR(
      CheckMetrics(held_out.uniform(), "held_out.uniform", tokens, Intervals::kRequired));
  const double limit = static_cast<double>(tokens) * (1 + kInterpolationSlack);
  BB_RETURN_IF_ERROR(
      CheckInterval(held_out.fdt_difference(), "held_out.fdt_difference", -limit, limit));
  constexpr double kAny = std::numeric_limits<double>::max();
  return CheckInterval(held_out.kl_difference(), "held_out.kl_difference", -kAny, kAny);
}

absl::Status CheckHeldOut(const plans::Plan& plan) {
  BB_RETURN_IF_ERROR(CheckComparison(plan));
  return CheckTextDivergences(plan.held_out());
}

absl::Status CheckInputMoments(const plans::Plan& plan) {
  NameSet seen;
  for (int i = 0; i < plan.input_moments_size(); ++i) {
    const plans::InputMoments& moments = plan.input_moments(i);
    const std::string path = absl::StrCat("input_moments[", i, "]");
    const auto component =
        std::find_if(plan.components().begin(), plan.components().end(), [&](const auto& c) {
          return c.name() == moments.component();
        });
    if (component == plan.components().end() || !seen.insert(moments.component()).second) {
      return Bad(path + ".component",
                 "\"",
                 moments.component(),
                 "\" is no component of the plan, or a duplicate");
    }
    const std::string& bytes = moments.squares();
    if (bytes.size() != component->cols() * sizeof(float)) {
      return Bad(path + ".squares",
                 bytes.size(),
                 " bytes, but one f32 for each of ",
                 component->cols(),
                 " inputs takes ",
                 component->cols() * sizeof(float));
    }
    for (size_t at = 0; at < bytes.size(); at += sizeof(float)) {
      float value;
      std::memcpy(&value, bytes.data() + at, sizeof(value));
      if (!(value >= 0) || value > std::numeric_limits<float>::max()) {
        return Bad(path + ".squares", "input ", at / sizeof(float), " is ", value);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

namespace {

absl::Status CheckGoal(const plans::Plan& plan) {
  if (!plan.has_goal()) return absl::OkStatus();
  constexpr double kAny = std::numeric_limits<double>::max();
  const plans::Goal& goal = plan.goal();
  if (goal.requested().empty()) return Bad("goal.requested", "is empty");
  if (!plan.has_held_out()) return Bad("goal", "is met, but there is no held_out");
  BB_RETURN_IF_ERROR(CheckInterval(goal.interval(), "goal.interval", -1, kAny));
  if (!(goal.margin() >= 0 && goal.margin() <= 1)) {
    return Bad("goal.margin", goal.margin(), " is not within [0, 1]");
  }
  bool met = false;
  for (int i = 0; i < goal.trials_size(); ++i) {
    const plans::GoalTrial& trial = goal.trials(i);
    BB_RETURN_IF_ERROR(
        CheckInterval(trial.interval(), absl::StrCat("goal.trials[", i, "].interval"), -1, kAny));
    met = met || trial.met();
  }
  return met ? absl::OkStatus() : Bad("goal.trials", "none of them met the goal");
}

}  // namespace

absl::Status CheckMeasurements(const plans::Plan& plan) {
  std::set<absl::string_view> names;
  for (const plans::Component& c : plan.components()) names.insert(c.name());
  BB_RETURN_IF_ERROR(CheckSearch(plan, names));
  BB_RETURN_IF_ERROR(CheckInputMoments(plan));
  BB_RETURN_IF_ERROR(CheckGoal(plan));
  return CheckHeldOut(plan);
}

}  // namespace bitbudget::internal

namespace bitbudget {

using internal::Bad;
using internal::SaturatingAdd;

// The uniform assignment differs from the plan only in components that are not pinned, so its size
// lies between the sums of the smaller and of the larger of the two.
absl::Status CheckUniformSize(const plans::Plan& plan, const std::vector<Format>& uniform) {
  int64_t smallest = plan.model().fixed_bytes();
  int64_t largest = smallest;
  for (int i = 0; i < plan.components_size(); ++i) {
    const plans::Component& c = plan.components(i);
    const int64_t size = Fits(uniform[i], c.cols()) ? SizeBytes(uniform[i], c.rows(), c.cols())
                                                    : c.size_bytes();  // it must have been pinned
    smallest = SaturatingAdd(smallest, std::min(size, c.size_bytes()));
    largest = SaturatingAdd(largest, std::max(size, c.size_bytes()));
  }
  const int64_t size = plan.held_out().uniform_size_bytes();
  if (size < smallest || size > largest) {
    return Bad("held_out.uniform_size_bytes",
               size,
               ", but ",
               plan.held_out().uniform_format(),
               " on these components takes ",
               smallest,
               " to ",
               largest);
  }
  if (size > plan.budget().bytes()) {
    return Bad("held_out.uniform_size_bytes", size, " is over the budget");
  }
  if (plan.held_out().uniform_emitted() && size != PlanSizeBytes(plan)) {
    return Bad("held_out.uniform_emitted",
               "true, but the plan takes ",
               PlanSizeBytes(plan),
               " bytes and the uniform assignment ",
               size);
  }
  return absl::OkStatus();
}

}  // namespace bitbudget

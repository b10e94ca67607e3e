#include "plans/verdict.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace bitbudget {
namespace {

// A statistic of the result and of the uniform format beside it.
struct Compared {
  const char* name;
  double result;
  double uniform;
  const plans::Interval& difference;  // result - uniform, paired
  bool larger_is_better;              // and the difference is in tokens, not a share

  bool Differs() const { return difference.low() > 0 || difference.high() < 0; }
  bool Better() const { return (difference.low() > 0) == larger_is_better; }
  std::string Describe() const {
    if (larger_is_better) {
      return absl::StrFormat("%s %.1f tokens %s",
                             name,
                             std::abs(result - uniform),
                             result > uniform ? "later" : "earlier");
    }
    if (!(uniform > 0)) return absl::StrCat(name, result < uniform ? " lower" : " higher");
    return absl::StrFormat("%s %.0f %% %s",
                           name,
                           100 * std::abs(result / uniform - 1),
                           result < uniform ? "lower" : "higher");
  }
};

}  // namespace

std::string Verdict(const plans::Plan& plan) {
  const plans::HeldOut& held_out = plan.held_out();
  if (!held_out.has_uniform()) return "";
  std::vector<Compared> all;
  if (held_out.has_text_kl_difference()) {
    all.push_back({"text KL",
                   held_out.plan_text().kl_mean(),
                   held_out.uniform_text().kl_mean(),
                   held_out.text_kl_difference(),
                   false});
  }
  all.push_back({"KL",
                 held_out.plan().kl_mean(),
                 held_out.uniform().kl_mean(),
                 held_out.kl_difference(),
                 false});
  all.push_back({"FDT",
                 held_out.plan().fdt_mean(),
                 held_out.uniform().fdt_mean(),
                 held_out.fdt_difference(),
                 true});
  std::vector<std::string> better, worse, within;
  for (const Compared& statistic : all) {
    if (!statistic.Differs()) {
      within.push_back(statistic.name);
    } else {
      (statistic.Better() ? better : worse).push_back(statistic.Describe());
    }
  }
  const std::string uniform = absl::StrCat("uniform ", held_out.uniform_format());
  const std::string noise =
      within.empty() ? "" : absl::StrCat("; ", absl::StrJoin(within, ", "), " within noise");
  if (better.empty() && worse.empty()) {
    return absl::StrCat("no significant difference from ",
                        uniform,
                        " on ",
                        plan.options().held_out_probes(),
                        " probes; more --held-out-probes may show one");
  }
  if (worse.empty()) {
    return absl::StrCat("better than ", uniform, ": ", absl::StrJoin(better, ", "), noise);
  }
  if (better.empty()) {
    return absl::StrCat("worse than ", uniform, ": ", absl::StrJoin(worse, ", "), noise);
  }
  return absl::StrCat("mixed, against ",
                      uniform,
                      ": ",
                      absl::StrJoin(better, ", "),
                      ", but ",
                      absl::StrJoin(worse, ", "),
                      noise);
}

}  // namespace bitbudget

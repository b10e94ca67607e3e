#ifndef BITBUDGET_PLANNER_JOBS_CONSTRAINTS_H_
#define BITBUDGET_PLANNER_JOBS_CONSTRAINTS_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "plans/targets/target.h"
#include "runtime/base/regex.h"
#include "runtime/model/decoder/model.h"
#include "search/problem.h"

namespace bitbudget {

// What the user and the target allow. Regular expressions are ECMAScript, searched for in the
// component's name (e.g. "layers\.0\." or "down_proj$"); a rule that matches nothing is an error.
struct Constraints {
  // Who shall run the plan; null: nobody in particular. Its formats, substitutes and joined
  // components hold from the start; a component that it leaves alone keeps its stored format.
  const TargetProfile* target = nullptr;
  // Formats to choose from; empty: the target's or DefaultFormats(), of these the integers of 3 and
  // 2 bits only for budgets below 4.5 and 3.5 bits per weight, and every component's stored format.
  std::vector<Format> formats;
  struct Pin {
    Regex regex;
    Format format;
  };
  std::vector<Pin> pins;  // the last matching pin holds
  struct MinBits {
    Regex regex;
    int bits;
  };
  std::vector<MinBits> min_bits;
};

// The formats that a plan chooses from unless told otherwise.
std::vector<Format> DefaultFormats();

// "int8,int4-g64" as formats, where "bf16+s*" is bf16, it with 2.5, 5, ..., 97.5 % of zeros, and
// removed; "REGEX=FORMAT" and "REGEX=N" (split at the last '='). Errors name the
// option's text.
absl::StatusOr<std::vector<Format>> ParseFormatList(const std::string& text);
absl::StatusOr<Constraints::Pin> ParsePin(const std::string& text);
absl::StatusOr<Constraints::MinBits> ParseMinBits(const std::string& text);

// Puts the components that pins match into their formats. Errors: a bad regular expression, one
// that matches nothing, a format whose blocks do not fit.
absl::Status ApplyPins(const Model& model,
                       std::span<const Constraints::Pin> pins,
                       Assignment* assignment);

// Ladders for every component of the model, or for those that the target joins. A format that takes
// more bytes than the stored weights, whose blocks do not divide the component's rows (and that the
// target has no substitute for), or that lays out a component exactly as another one does, is left
// out of its ladder. A pin or a minimum of one joined component is one of all. Errors: a bad
// regular expression, a rule that matches no component, a format or pin that the target cannot
// hold, a pinned format whose blocks do not fit, a component left without any format.
absl::StatusOr<SearchProblem> BuildProblem(const Model& model,
                                           const Constraints& constraints,
                                           int64_t budget_bytes);

// An error for which IsInfeasible() holds, naming the smallest possible size, when nothing can fit.
absl::Status CheckFeasible(const SearchProblem& problem, int64_t parameter_count);
absl::Status InfeasibleError(const std::string& message);
bool IsInfeasible(const absl::Status& status);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_CONSTRAINTS_H_

#ifndef BITBUDGET_PLANNER_JOBS_CONSTRAINTS_H_
#define BITBUDGET_PLANNER_JOBS_CONSTRAINTS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "plans/targets/target.h"
#include "runtime/base/regex.h"
#include "runtime/model/decoder/model.h"
#include "search/problem.h"

namespace bitbudget {

// What the user and the target allow. Rules name components by ECMAScript regular expressions that
// match anywhere in the name, such as "layers\.0\." or "down_proj$".
struct Constraints {
  // The program that will execute the plan; null for none. Its formats, substitutes and joined
  // components hold from the start; a component that it leaves alone keeps its stored format.
  const TargetProfile* target = nullptr;
  // Formats to choose from. Empty: every component's stored format and the target's or
  // DefaultFormats(), where integers of 3 and 2 bits are for budgets below 4.5 and 3.5 bits per
  // weight.
  std::vector<Format> formats;
  // The bits per weight that DefaultFormats() are for; unset: those of the limit.
  std::optional<double> default_bits;
  struct Pin {
    Regex regex;
    Format format;
    std::string text;  // as written
  };
  std::vector<Pin> pins;  // the last matching pin wins
  struct MinBits {
    Regex regex;
    int bits;
    std::string text;  // as written
  };
  std::vector<MinBits> min_bits;
};

// The formats that a plan chooses from unless told otherwise.
std::vector<Format> DefaultFormats();

// Reads "int8,int4-g64", where "bf16+s*" stands for bf16 with 0, 2.5, 5, ..., 97.5 % zeros and for
// removal; "REGEX=FORMAT" and "REGEX=N", split at the last '='. Errors name the text.
absl::StatusOr<std::vector<Format>> ParseFormatList(const std::string& text);
absl::StatusOr<Constraints::Pin> ParsePin(const std::string& text);
absl::StatusOr<Constraints::MinBits> ParseMinBits(const std::string& text);

// Puts the components that pins match into their formats. Errors: a pin that matches nothing, a
// format whose blocks do not fit.
absl::Status ApplyPins(const Model& model,
                       std::span<const Constraints::Pin> pins,
                       Assignment* assignment);

// Builds a ladder for every component, or for every group that the target joins. A ladder leaves
// out formats that take more bytes than the stored weights, whose blocks do not divide the rows
// (unless the target has a substitute), that cannot hold its largest weight (for a uniform
// assignment a wider one stands in, and `notes` gets a line), or that lay out the component exactly
// as another format does. A pin or minimum of one joined component holds for all. Errors: a rule
// that matches no component, a format or pin that the target cannot hold, a pinned format whose
// blocks do not fit or whose range does not, a component left without any format.
absl::StatusOr<SearchProblem> BuildProblem(const Model& model,
                                           const Constraints& constraints,
                                           const SearchLimit& limit,
                                           std::vector<std::string>* notes);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_CONSTRAINTS_H_

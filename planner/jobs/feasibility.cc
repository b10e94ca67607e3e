#include "planner/jobs/feasibility.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace bitbudget {
namespace {

// A payload rather than a code of its own: system errors use the codes that would fit.
constexpr absl::string_view kInfeasiblePayload = "bitbudget/infeasible";

// What makes the smallest size large: the units whose smallest choice has about the most bits per
// weight, where others have clearly fewer.
std::string InTheWay(const SearchProblem& problem) {
  const auto bits = [&](UnitId u) {
    return 8.0 * static_cast<double>(problem.ladders[u][0].bytes) /
           static_cast<double>(problem.Weights(u));
  };
  double least = HUGE_VAL;
  double most = 0;
  for (UnitId u = 0; u < problem.size(); ++u) {
    least = std::min(least, bits(u));
    most = std::max(most, bits(u));
  }
  if (most < 1.2 * least) return "";
  UnitId largest = -1;
  int others = -1;
  for (UnitId u = 0; u < problem.size(); ++u) {
    if (bits(u) < 0.9 * most) continue;
    ++others;
    if (largest < 0 || problem.Weights(u) > problem.Weights(largest)) largest = u;
  }
  const Choice& choice = problem.ladders[largest][0];
  return absl::StrCat(
      "; ",
      problem.components[problem.Parts(largest)[0]].name,
      others > 0 ? absl::StrCat(" and ", others, " more stay") : " stays",
      " in ",
      choice.format.Name(),
      problem.Pinned(largest) ? ", the only format allowed there" : ", the smallest allowed there");
}

}  // namespace

absl::Status InfeasibleError(const std::string& message) {
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload(kInfeasiblePayload, absl::Cord());
  return status;
}

bool IsInfeasible(const absl::Status& status) {
  return status.GetPayload(kInfeasiblePayload).has_value();
}

absl::Status CheckFeasible(const SearchProblem& problem, int64_t parameter_count) {
  const int64_t smallest = problem.SmallestBytes();
  if (smallest <= problem.MaxBytes()) return absl::OkStatus();
  const auto bits_per_weight = [&](int64_t bytes) {
    return 8.0 * static_cast<double>(bytes) / static_cast<double>(parameter_count);
  };
  return InfeasibleError(absl::StrFormat(
      "the budget of %d bytes (%.4f bits per weight) cannot be met: with the allowed formats the "
      "smallest possible size is %d bytes (%.4f bits per weight)%s",
      problem.MaxBytes(),
      bits_per_weight(problem.MaxBytes()),
      smallest,
      bits_per_weight(smallest),
      InTheWay(problem)));
}

absl::Status MethodInfeasible(const SearchProblem& problem, const std::string& method) {
  if (const int permille = problem.MinSparsityPermille(); permille > 0) {
    return InfeasibleError(absl::StrCat("search method ",
                                        method,
                                        " finds no assignment with ",
                                        permille / 10.0,
                                        " % zeros: the allowed formats have fewer; allow sparser "
                                        "ones, such as bf16+s*"));
  }
  std::string smallest_uniform;
  if (const std::vector<Format> shared = problem.SharedFormats(); !shared.empty()) {
    smallest_uniform = absl::StrCat("; with one format for all, ",
                                    shared[0].Name(),
                                    ", it is ",
                                    problem.TotalBytes(problem.Uniform(shared[0])),
                                    " bytes");
  }
  return InfeasibleError(absl::StrCat("search method ",
                                      method,
                                      " has no assignment within the budget of ",
                                      problem.MaxBytes(),
                                      " bytes: the smallest possible size is ",
                                      problem.SmallestBytes(),
                                      " bytes",
                                      smallest_uniform,
                                      "; method greedy has one"));
}

}  // namespace bitbudget

#include "search/uniform.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "search/search_session.h"

namespace bitbudget {

namespace {

class UniformSearch : public SearchMethod {
 public:
  explicit UniformSearch(const Objective& objective) : objective_(objective) {}

  absl::string_view name() const override { return "uniform"; }

  absl::StatusOr<SearchSummary> Run(const SearchContext& context) override {
    SearchSession session(context);
    const SearchProblem& problem = session.problem();
    if (problem.AllPinned()) return session.Finish(session.AcceptPinned());
    std::vector<Selection> candidates;
    for (const Format& format : problem.SharedFormats()) {
      Selection selection = problem.Uniform(format);
      if (problem.Fits(selection)) candidates.push_back(std::move(selection));
    }
    if (context.estimates != nullptr) KeepLikeliest(*context.estimates, &candidates);
    return session.Finish(session.KeepBest(candidates, objective_));
  }

 private:
  // The candidates of least estimated loss, in their order.
  static void KeepLikeliest(const CostTable& estimates, std::vector<Selection>* candidates) {
    const auto sum = [&](const Selection& selection) {
      double total = 0;
      for (size_t u = 0; u < selection.size(); ++u) total += estimates[u][selection[u]];
      return total;
    };
    std::vector<double> sums;
    for (const Selection& selection : *candidates) sums.push_back(sum(selection));
    if (sums.size() <= kLikeliestUniform) return;
    std::nth_element(sums.begin(), sums.begin() + kLikeliestUniform - 1, sums.end());
    const double worst = sums[kLikeliestUniform - 1];
    std::erase_if(*candidates,
                  [&](const Selection& selection) { return !(sum(selection) <= worst); });
  }

  const Objective objective_;
};

}  // namespace

std::unique_ptr<SearchMethod> MakeUniformSearch(const Objective& objective) {
  return std::make_unique<UniformSearch>(objective);
}

}  // namespace bitbudget

#include "search/uniform.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "search/search_run.h"

namespace bitbudget {

namespace {

class UniformSearch : public SearchMethod {
 public:
  explicit UniformSearch(const Objective& objective) : objective_(objective) {}

  absl::string_view name() const override { return "uniform"; }

  absl::StatusOr<SearchSummary> Run(const SearchContext& context) override {
    SearchRun run(context);
    const SearchProblem& problem = run.problem();
    std::vector<Selection> candidates;
    for (const Format& format : problem.SharedFormats()) {
      Selection selection = problem.Uniform(format);
      if (problem.Fits(selection)) candidates.push_back(std::move(selection));
    }
    const bool all_pinned = std::all_of(problem.ladders.begin(),
                                        problem.ladders.end(),
                                        [](const auto& ladder) { return ladder.size() == 1; });
    if (all_pinned && problem.Fits(Selection(problem.size(), 0)))
      candidates.push_back(Selection(problem.size(), 0));
    return run.Finish(run.KeepBest(candidates, objective_));
  }

 private:
  const Objective objective_;
};

}  // namespace

std::unique_ptr<SearchMethod> MakeUniformSearch(const Objective& objective) {
  return std::make_unique<UniformSearch>(objective);
}

}  // namespace bitbudget

#include "search/uniform.h"

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
    return session.Finish(session.KeepBest(candidates, objective_));
  }

 private:
  const Objective objective_;
};

}  // namespace

std::unique_ptr<SearchMethod> MakeUniformSearch(const Objective& objective) {
  return std::make_unique<UniformSearch>(objective);
}

}  // namespace bitbudget

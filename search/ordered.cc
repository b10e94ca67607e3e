#include "search/ordered.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "search/search_session.h"
#include "search/widths.h"

namespace bitbudget {
namespace {

int LayerOf(const SearchProblem& problem, UnitId u) {
  return problem.components[problem.Parts(u)[0]].layer;
}

// Raises `layers` (lists of units, most important first) through the widths; empty when the lowest
// does not fit.
Selection Raise(const SearchProblem& problem,
                const std::vector<std::vector<UnitId>>& layers,
                const std::vector<Format>& widths) {
  Selection selection = Everywhere(problem, widths[0]);
  int64_t left = problem.MaxBytes() - problem.TotalBytes(selection);
  if (left < 0) return {};
  // Raises all of `units` if that fits.
  auto raise = [&](std::span<const UnitId> units, const Format& width) {
    int64_t bytes = 0;
    for (const UnitId c : units) {
      bytes += problem.ladders[c][ChoiceFor(problem, c, width)].bytes -
               problem.ladders[c][selection[c]].bytes;
    }
    if (bytes > left) return false;
    for (const UnitId c : units) selection[c] = ChoiceFor(problem, c, width);
    left -= bytes;
    return true;
  };
  // Half a layer is of no use beside removed layers, so there layers are raised as a whole where
  // they fit.
  const bool removes = widths[0].kind == FormatKind::kRemoved;
  for (size_t w = 1; w < widths.size(); ++w) {
    bool whole_layers = true;
    for (const std::vector<UnitId>& layer : layers) {
      if (removes && w == 1) {
        if (!raise(layer, widths[w])) whole_layers = false;
        continue;
      }
      whole_layers = whole_layers && raise(layer, widths[w]);
      if (whole_layers) continue;
      for (const UnitId& c : layer) raise({&c, 1}, widths[w]);
    }
    if (!whole_layers) break;
  }
  return selection;
}

class OrderedSearch : public SearchMethod {
 public:
  OrderedSearch(const OrderedOptions& options, const Objective& objective)
      : options_(options), objective_(objective) {}

  absl::string_view name() const override { return options_.name; }

  absl::StatusOr<SearchSummary> Run(const SearchContext& context) override {
    SearchSession session(context);
    const SearchProblem& problem = session.problem();
    if (problem.AllPinned()) return session.Finish(session.AcceptPinned());
    if (options_.widths.size() == 1) {
      return absl::InvalidArgumentError(
          absl::StrCat(options_.name,
                       " search: one width given (",
                       options_.widths[0].Name(),
                       "); give two or more, or none to have them chosen"));
    }
    BB_ASSIGN_OR_RETURN(const std::vector<std::vector<UnitId>> layers, Layers(problem));
    if (!session.Feasible()) return session.Finish(absl::OkStatus());
    std::vector<std::vector<Format>> chains;
    if (options_.widths.empty()) {
      chains = WidthChains(problem);
    } else {
      chains.push_back(options_.widths);
    }
    std::vector<UnitId> outside;  // embedding and head
    for (int c = 0; c < problem.size(); ++c) {
      if (LayerOf(problem, c) < 0) outside.push_back(c);
    }
    std::vector<std::vector<UnitId>> first, last = layers;
    for (const UnitId c : outside) first.push_back({c});
    first.insert(first.end(), layers.begin(), layers.end());
    for (const UnitId c : outside) last.push_back({c});

    std::vector<Selection> candidates;
    for (const std::vector<Format>& chain : chains) {
      for (const auto& order : {first, last}) {
        Selection selection = Raise(problem, order, chain);
        const bool known =
            std::find(candidates.begin(), candidates.end(), selection) != candidates.end();
        if (!selection.empty() && !known) candidates.push_back(std::move(selection));
      }
    }
    return session.Finish(session.KeepBest(candidates, objective_));
  }

 private:
  // The units of every layer in the order of importance.
  absl::StatusOr<std::vector<std::vector<UnitId>>> Layers(const SearchProblem& problem) const {
    int count = 0;
    for (const Component& component : problem.components) {
      count = std::max(count, component.layer + 1);
    }
    std::vector<int> sorted = options_.layer_order;
    std::sort(sorted.begin(), sorted.end());
    bool complete = static_cast<int>(sorted.size()) == count;
    for (int b = 0; complete && b < count; ++b) complete = sorted[b] == b;
    if (!complete) {
      return absl::InvalidArgumentError(absl::StrCat(options_.name,
                                                     " search: the layer order has ",
                                                     sorted.size(),
                                                     " entries; it must name each of ",
                                                     "the model's ",
                                                     count,
                                                     " layers once"));
    }
    std::vector<std::vector<UnitId>> layers;
    for (const int b : options_.layer_order) {
      std::vector<UnitId>& layer = layers.emplace_back();
      for (int c = 0; c < problem.size(); ++c) {
        if (LayerOf(problem, c) == b) layer.push_back(c);
      }
    }
    return layers;
  }

  const OrderedOptions options_;
  const Objective objective_;
};

}  // namespace

std::unique_ptr<SearchMethod> MakeOrderedSearch(const OrderedOptions& options,
                                                const Objective& objective) {
  return std::make_unique<OrderedSearch>(options, objective);
}

}  // namespace bitbudget

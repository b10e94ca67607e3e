#include "search/methods.h"

#include "runtime/base/known_names.h"
#include "search/additive.h"
#include "search/beam.h"
#include "search/evolution.h"
#include "search/greedy.h"
#include "search/ordered.h"
#include "search/sparsify.h"
#include "search/uniform.h"

namespace bitbudget {
namespace {

using Method = std::unique_ptr<SearchMethod>;

MethodNeeds NothingElse(const MethodOptions&) { return {}; }

MethodNeeds ErrorsToPredict(const MethodOptions& options) {
  return {.output_errors = !options.exhaustive};
}

MethodNeeds ErrorsAndMoves(const MethodOptions& options) {
  return {.output_errors = !options.exhaustive, .moves = !options.exhaustive};
}

BeamOptions BeamOptionsOf(const MethodOptions& options) {
  BeamOptions beam;
  beam.width = options.beam_width;
  beam.order = options.beam_order;
  beam.exhaustive = options.exhaustive;
  return beam;
}

Method MakeOrdered(const char* name, const MethodOptions& options) {
  OrderedOptions ordered;
  ordered.name = name;
  ordered.layer_order = options.layer_order;
  return MakeOrderedSearch(ordered, options.objective);
}

constexpr MethodInfo kMethods[] = {
    {.name = "greedy",
     .description = "descent by joint moves from the additive optimum",
     .takes_sparsity = false,
     .needs = ErrorsAndMoves,
     .make =
         [](const MethodOptions& o) {
           return MakeGreedySearch({.gradients = {.seed = o.seed}}, o.objective);
         }},
    {.name = "additive",
     .description = "the least sum of the components' divergences alone",
     .takes_sparsity = false,
     .needs = ErrorsToPredict,
     .make = [](const MethodOptions&) { return MakeAdditiveSearch(); }},
    {.name = "layerwise",
     .description = "layers raised to a wider format by importance",
     .takes_sparsity = false,
     .needs =
         [](const MethodOptions&) {
           return MethodNeeds{.layer_order = MethodNeeds::LayerOrder::kScored};
         },
     .make = [](const MethodOptions& o) { return MakeOrdered("layerwise", o); }},
    {.name = "uniform",
     .description = "the best single format that fits",
     .takes_sparsity = true,
     .needs = NothingElse,
     .make = [](const MethodOptions& o) { return MakeUniformSearch(o.objective); }},
    {.name = "random",
     .description = "layerwise in a random order, its control",
     .takes_sparsity = false,
     .needs =
         [](const MethodOptions&) {
           return MethodNeeds{.layer_order = MethodNeeds::LayerOrder::kRandom};
         },
     .make = [](const MethodOptions& o) { return MakeOrdered("random", o); }},
    {.name = "beam",
     .description = "components lowered one by one, the best states kept",
     .takes_sparsity = false,
     .needs =
         [](const MethodOptions& o) {
           return MethodNeeds{.text = o.beam_order == MeritKind::kPpl};
         },
     .make = [](const MethodOptions& o) { return MakeBeamSearch(BeamOptionsOf(o)); }},
    {.name = "evolution",
     .description = "levels switched at random, the fittest on more and more probes",
     .takes_sparsity = false,
     .needs = NothingElse,
     .make =
         [](const MethodOptions& o) { return MakeEvolutionSearch({.seed = o.seed}, o.objective); }},
    {.name = "sparsify",
     .description = "zeros added in rounds, steered by the first divergent token",
     .takes_sparsity = true,
     .retrains = true,
     .needs = NothingElse,
     .make = [](const MethodOptions&) { return MakeSparsifySearch(SparsifyOptions()); }},
};

}  // namespace

std::span<const MethodInfo> SearchMethods() { return kMethods; }

std::vector<std::string> SearchMethodNames() {
  std::vector<std::string> names;
  for (const MethodInfo& method : kMethods) names.push_back(method.name);
  return names;
}

absl::StatusOr<const MethodInfo*> FindMethod(absl::string_view name) {
  for (const MethodInfo& method : kMethods) {
    if (name == method.name) return &method;
  }
  return UnknownName("search method", name, SearchMethodNames());
}

absl::Status CheckMethodOptions(const MethodOptions& options) {
  return BeamOptionsOf(options).Validate();
}

}  // namespace bitbudget

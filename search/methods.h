#ifndef BITBUDGET_SEARCH_METHODS_H_
#define BITBUDGET_SEARCH_METHODS_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "search/merit.h"
#include "search/objective.h"
#include "search/search_method.h"

namespace bitbudget {

// What a method needs beyond the problem and the evaluator of its probes.
struct MethodNeeds {
  bool output_errors = false;  // SearchContext::errors or estimates
  bool moves = false;          // SearchContext::moves, where there are estimates
  bool text = false;           // SearchContext::text
  enum class LayerOrder { kNone, kScored, kRandom };
  LayerOrder layer_order = LayerOrder::kNone;  // MethodOptions::layer_order
};

// The options of all methods; a method reads those that its description names.
struct MethodOptions {
  Objective objective{Statistic::kFdtMean};
  // Evaluate every candidate on all probes instead of predicting and screening.
  bool exhaustive = false;
  int beam_width = 10;  // BeamOptions::width
  MeritKind beam_order = MeritKind::kFdt;
  std::vector<int> layer_order;  // layers, most important first
  uint64_t seed = 0;             // EvolutionOptions::seed
};

// A row of the registry.
struct MethodInfo {
  const char* name;
  const char* description;  // one line, for help texts
  bool takes_sparsity;      // meets a SparsityTarget; all methods meet a ByteBudget
  bool retrains = false;    // uses SearchContext::retrainer
  MethodNeeds (*needs)(const MethodOptions& options);
  // REQUIRES: CheckMethodOptions() is OK, and the layer order is there where it is needed.
  std::unique_ptr<SearchMethod> (*make)(const MethodOptions& options);
};

// All methods, the default first.
std::span<const MethodInfo> SearchMethods();
std::vector<std::string> SearchMethodNames();

// kInvalidArgument for an unknown name, with the known ones.
absl::StatusOr<const MethodInfo*> FindMethod(absl::string_view name);

// kInvalidArgument naming the option and its value.
absl::Status CheckMethodOptions(const MethodOptions& options);

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_METHODS_H_

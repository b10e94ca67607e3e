#ifndef BITBUDGET_SEARCH_SEARCH_METHOD_H_
#define BITBUDGET_SEARCH_SEARCH_METHOD_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/progress.h"
#include "runtime/eval/candidate_evaluator.h"
#include "search/exact_fill.h"
#include "search/move_model.h"
#include "search/objective.h"
#include "search/problem.h"
#include "search/retrainer.h"

namespace bitbudget {

// How a search ended; none of these is an error.
enum class SearchOutcome : uint8_t { kBudgetMet, kInfeasible, kInterrupted };
const char* SearchOutcomeName(SearchOutcome outcome);  // "budget met", ...

// The loss (Statistic::kLoss, nats per token) of the reference with one component in one format,
// together with the other components of its unit.
struct AloneDivergence {
  ComponentFormat change;
  double kl_mean = 0;
};

// One accepted step, for the plan's trace.
struct TraceStep {
  // "start", "round", "swap", ...: how the step was found.
  std::string what;
  std::vector<ComponentFormat> changes;  // of "start": every component
  int64_t size_bytes = 0;
  double fdt_mean = 0;
  double dppl = 0;
  double kl_mean = 0;
  double text_kl = 0;
};

struct SearchSummary {
  SearchOutcome outcome = SearchOutcome::kInfeasible;
  // Empty when infeasible, and when interrupted before a first candidate within the budget was run.
  Assignment assignment;
  Evaluation evaluation;  // of `assignment` on the search probes
  int64_t size_bytes = 0;
  int64_t candidates = 0;  // evaluated
  // Decoder work in rows x layers (CandidateEvaluator::CostOf): of everything that was run, and of
  // a naive search that runs every candidate that was considered, here also those that were only
  // predicted, on every probe through all layers.
  double computed = 0;
  double naive = 0;
  int64_t rounds = 0;
  // What was measured, in component and ladder order; predictions are not listed.
  std::vector<AloneDivergence> alone;
  std::vector<TraceStep> trace;
  // What a reader of the result must know of how it came about; empty, or sentences.
  std::string note;

  std::string BriefReport() const;
};

// What every method works with. Pointers are not owned and outlive the search.
struct SearchContext {
  const SearchProblem* problem = nullptr;
  CandidateEvaluator* evaluator = nullptr;
  Progress* progress = nullptr;  // may be null
  // The unmodified model as an assignment (every component in its stored format).
  Assignment reference;
  // What predictions go by: relative output errors of all choices (scoring/output_error.h), or
  // `estimates`; of a unit the sum over its components, rows as the problem's ladders. Null:
  // methods run what they would otherwise predict.
  const CostTable* errors = nullptr;
  // The divergences of all choices alone, in nats per token, as a scorer estimates them
  // (scoring/format_costs.h), in the same shape. Null: nobody does.
  const CostTable* estimates = nullptr;
  // Predicts moves in context; comes with estimates. Null: nobody does.
  MoveModel* moves = nullptr;
  // Trains the model between rounds, of methods that prune in rounds. Null: nothing is trained.
  Retrainer* retrainer = nullptr;
  // Evaluates on natural text instead of on the reference's completions, so that nll is that of the
  // text. Null: there is no text.
  CandidateEvaluator* text = nullptr;
};

// A search method. All of them take the same problem and evaluator, so they can be compared at the
// same budget. Deterministic.
class SearchMethod {
 public:
  virtual ~SearchMethod() = default;
  virtual absl::string_view name() const = 0;

  // Never exceeds the budget. kInfeasible (as an outcome) when even the smallest choices do not
  // fit, or the method's own kind of assignment does not; nothing is evaluated then. kInterrupted
  // with the best assignment so far when the user stopped it (the evaluator returned kCancelled).
  virtual absl::StatusOr<SearchSummary> Run(const SearchContext& context) = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_SEARCH_METHOD_H_

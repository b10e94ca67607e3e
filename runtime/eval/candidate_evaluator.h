#ifndef BITBUDGET_RUNTIME_EVAL_CANDIDATE_EVALUATOR_H_
#define BITBUDGET_RUNTIME_EVAL_CANDIDATE_EVALUATOR_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/eval/assignment.h"
#include "runtime/eval/metrics.h"

namespace bitbudget {

// Work done, in rows x blocks of the decoder (embedding and head not counted): what was computed
// against what a naive search would compute, which runs every candidate on every probe through all
// blocks.
struct EvaluationCost {
  int64_t evaluations = 0;
  int64_t computed = 0;
  int64_t naive = 0;
};

// Answers one question: how does the incumbent with a small change compare with the reference?
// Results are those of running the whole candidate; caching may make them cheaper, never different.
// Search sees this interface only, so that methods can be tested on functions with a known optimum.
class CandidateEvaluator {
 public:
  virtual ~CandidateEvaluator() = default;

  // Makes `assignment` the incumbent and evaluates it.
  virtual absl::Status SetIncumbent(const Assignment& assignment) = 0;

  virtual const Assignment& incumbent() const = 0;
  virtual const Evaluation& incumbent_evaluation() const = 0;

  // Evaluates the incumbent with `delta` applied; the incumbent stays. kCancelled when the user
  // interrupted, kInvalidArgument when a component cannot be encoded in the format asked for.
  virtual absl::StatusOr<Evaluation> Evaluate(std::span<const ComponentFormat> delta) = 0;

  // Applies `delta` to the incumbent for good. incumbent_evaluation() is then what Evaluate(delta)
  // returned.
  virtual absl::Status Commit(std::span<const ComponentFormat> delta) = 0;

  virtual EvaluationCost cost() const = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_CANDIDATE_EVALUATOR_H_

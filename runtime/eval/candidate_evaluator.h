#ifndef BITBUDGET_RUNTIME_EVAL_CANDIDATE_EVALUATOR_H_
#define BITBUDGET_RUNTIME_EVAL_CANDIDATE_EVALUATOR_H_

#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/eval/assignment.h"
#include "runtime/eval/metrics.h"

namespace bitbudget {

// Consecutive probes, in probe order.
struct ProbeRange {
  int64_t first = 0;
  int64_t count = 0;
};

// Answers one question: how does the incumbent with a small change compare with the reference?
// Results are those of running the whole candidate; caching makes them cheaper, never different.
// Search sees only this interface, so that methods can be tested on functions with a known optimum.
class CandidateEvaluator {
 public:
  virtual ~CandidateEvaluator() = default;

  // Makes `assignment` the incumbent and evaluates it.
  virtual absl::Status SetIncumbent(const Assignment& assignment) = 0;

  virtual const Assignment& incumbent() const = 0;
  virtual const Evaluation& incumbent_evaluation() const = 0;

  virtual int64_t probe_count() const = 0;

  // Evaluates the incumbent with `delta` applied on the probes of `range`, one result per probe;
  // the incumbent stays. A probe's result does not depend on the range that it is asked in.
  // kCancelled on interruption, kInvalidArgument when a component cannot be encoded in the format
  // asked for. REQUIRES: an incumbent, and a range within the probes.
  virtual absl::StatusOr<Evaluation> Evaluate(std::span<const ComponentFormat> delta,
                                              ProbeRange range) = 0;
  absl::StatusOr<Evaluation> Evaluate(std::span<const ComponentFormat> delta) {
    return Evaluate(delta, {0, probe_count()});
  }

  // Applies `delta` to the incumbent for good. incumbent_evaluation() is then what Evaluate(delta)
  // returned.
  virtual absl::Status Commit(std::span<const ComponentFormat> delta) = 0;

  // The work of Evaluate(delta, range) from the first stage that `delta` changes on, in rows x
  // decoder layers, without embedding and head; an attention or MLP stage is half a layer. It
  // depends on the model and the probes only, not on what was cached, stored or spread over
  // machines. nullopt: all stages, what SetIncumbent runs.
  virtual double CostOf(std::optional<std::span<const ComponentFormat>> delta,
                        ProbeRange range) const = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_CANDIDATE_EVALUATOR_H_

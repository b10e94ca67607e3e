#ifndef BITBUDGET_PLANNER_WORKSPACE_MEMORY_PLAN_H_
#define BITBUDGET_PLANNER_WORKSPACE_MEMORY_PLAN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

// What a job runs, as far as memory goes.
struct MemoryRequest {
  int64_t search_probes = 0;       // evaluated again and again
  int64_t held_out_probes = 0;     // evaluated a few times
  int64_t calibration_probes = 0;  // run once, for a score
  int64_t gradient_probes = 0;     // run once forward and back, in one batch
  int64_t gradient_formats = 0;    // of the longest ladder that gradients compare in pairs
  int64_t context = 1;             // positions of a probe, at most
  int64_t compared = 1;            // of those: that distributions are compared on
  int64_t window = 0;              // positions of a sequence that gradients are taken on
  bool fdt_only = false;           // the head is screened (bounded_argmax.h)
  bool grams = false;              // encoders work with factors of Gram matrices (gram_factors.h)
  int threads = 1;
};

// How a limit is divided, in bytes. Mapped checkpoint pages are not counted: the operating system
// takes them back when it needs the memory.
struct MemoryPlan {
  int64_t limit = 0;
  // What the job takes under any limit.
  int64_t fixed = 0;    // program, tokenizer, probes
  int64_t scratch = 0;  // activations and logits of the threads
  int64_t streams = 0;  // residual streams of running passes
  // What grows with the limit, up to what the job can use. `states` holds keys and values while
  // completions are generated, and the incumbent's cached streams afterwards.
  int64_t weights = 0;  // encodings and panels
  int64_t states = 0;
  int64_t logits = 0;  // the reference's, of one set of probes

  int64_t total = 0;  // of all parts, `logits` twice; at most `limit`

  // One line.
  std::string Describe() const;
};

// Divides `limit` bytes. kResourceExhausted when the job needs more, saying how much and what would
// make it fit.
absl::StatusOr<MemoryPlan> PlanMemory(const Model& model,
                                      const MemoryRequest& request,
                                      int64_t limit);

// The parts for jobs that run so little that nobody sets them a limit: 4 GiB each for weights and
// states, 1 GiB for logits.
MemoryPlan UnplannedMemory();

// Three quarters of the memory that is available now, at least 256 MiB.
int64_t DefaultMemoryLimit();

// "16GiB", "900MiB", "500MB", ... in bytes. kInvalidArgument names the text.
absl::StatusOr<int64_t> ParseMemory(absl::string_view text);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_WORKSPACE_MEMORY_PLAN_H_

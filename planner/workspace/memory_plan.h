#ifndef BITBUDGET_PLANNER_WORKSPACE_MEMORY_PLAN_H_
#define BITBUDGET_PLANNER_WORKSPACE_MEMORY_PLAN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

// What a job does, as far as memory goes.
struct MemoryRequest {
  int64_t search_probes = 0;       // evaluated again and again
  int64_t held_out_probes = 0;     // evaluated a few times
  int64_t calibration_probes = 0;  // run once, for a score
  int64_t context = 1;             // positions of a probe, at most
  int64_t completion = 1;          // of those: completion tokens
  bool text = false;               // the held-out probes are windows of text
  bool fdt_only = false;           // the head is screened (bounded_argmax.h)
  int threads = 1;
};

// How a limit is divided, in bytes. Mapped checkpoint pages are not counted: the kernel takes them
// back when it needs the memory.
struct MemoryPlan {
  int64_t limit = 0;
  // What the job takes whatever the limit.
  int64_t fixed = 0;    // program, tokenizer, probes
  int64_t scratch = 0;  // activations and logits of the threads
  int64_t streams = 0;  // residual streams of running passes
  // What grows with the limit, up to where more is of no use. `states` is for keys and values while
  // completions are generated and for the incumbent's cached streams afterwards.
  int64_t weights = 0;  // encodings and panels
  int64_t states = 0;
  int64_t logits = 0;  // the reference's, of one set of probes

  // Of them all; at most `limit`.
  int64_t total = 0;

  // One line for people.
  std::string Describe() const;
};

// Divides `limit` bytes. kResourceExhausted when the job cannot run within it; the line says what
// it needs and what would make it fit.
absl::StatusOr<MemoryPlan> PlanMemory(const Model& model,
                                      const MemoryRequest& request,
                                      int64_t limit);

// Three quarters of the memory that the machine has available now, at least 256 MiB.
int64_t DefaultMemoryLimit();

// "16GiB", "900MiB", "500MB", ... in bytes. kInvalidArgument names the text.
absl::StatusOr<int64_t> ParseMemory(absl::string_view text);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_WORKSPACE_MEMORY_PLAN_H_

#ifndef BITBUDGET_RUNTIME_EVAL_PROBES_H_
#define BITBUDGET_RUNTIME_EVAL_PROBES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/generate.h"
#include "runtime/model/decoder/transformer.h"

namespace bitbudget {

// What a set of probes is for. The sets are disjoint: a window of text, a prompt or a first token
// belongs to one role, whatever the seed and the number of probes.
enum class ProbeRole : uint8_t { kCalibration, kSearch, kHeldOut };
const char* ProbeRoleName(ProbeRole role);  // "calibration", "search", "held-out"

enum class ProbeSource : uint8_t {
  kModel,    // sampled from the model itself
  kText,     // windows of a text file
  kPrompts,  // lines of a file, one prompt each
};
const char* ProbeSourceName(ProbeSource source);  // "model", "text", "prompts"

struct ProbeOptions {
  ProbeSource source = ProbeSource::kModel;
  std::string path;  // of the text or prompts file
  // Tokens of prefix (including the beginning-of-sequence token, when the model has one) and of
  // completion, as in Divergent Token Metrics (arXiv 2311.01544). Fewer where the context is
  // shorter; prompts keep their own length.
  int64_t prefix_tokens = 100;
  int64_t completion_tokens = 100;
  uint64_t seed = 0;

  absl::Status Validate() const;
};

// What sampling the model's own text takes. Nothing is owned.
struct ProbeSampler {
  const Transformer* transformer = nullptr;
  WeightSource* weights = nullptr;  // of the unmodified model
  int threads = 1;
  int64_t max_kv_bytes = int64_t{4} << 30;  // for keys and values
};

// Windows as prompts and their own continuations, to follow in place of the reference's
// (ReferenceOptions::completions): metrics are then taken along natural text, and exp(mean nll) is
// perplexity.
struct TextProbes {
  std::vector<std::vector<int32_t>> prompts;
  std::vector<Generation> continuations;  // tokens only
};
// Makes prompts for probes.
//   text: the token stream is cut into consecutive windows of prefix + completion tokens. Of every
//     eight, one is for calibration, three for search, four held out; repeated windows are dropped.
//     A window's prefix is the prompt; the whole window serves perplexity.
//   prompts: lines are dealt to the roles like windows; repeated lines are dropped.
//   model: tokens are shuffled by the seed and dealt to the roles as first tokens; the next four
//     are greedy, the rest is sampled at temperature 1 (the data recipe of LLM-QAT and OneBit).
// The seed chooses among a role's windows or lines when there are more than asked for.
class ProbeMaker {
 public:
  // Reads and tokenises the file. Shrinks prefix and completion in proportion when the model's
  // context (max_position_embeddings) is shorter than their sum. Errors: no tokenizer for text
  // (naming the folder), an unreadable or too short file, a prompt too long for the context.
  static absl::StatusOr<std::unique_ptr<ProbeMaker>> Create(const Model& model,
                                                            const ProbeOptions& options);

  int64_t prefix_tokens() const { return prefix_tokens_; }
  int64_t completion_tokens() const { return completion_tokens_; }
  // The positions of the longest probe.
  int64_t context() const { return context_; }
  uint64_t seed() const { return options_.seed; }
  // The tokens of a window: a prefix and a completion, or the longest probe where prompts are
  // short.
  int64_t window_tokens() const;
  // SHA-256 of the file; empty for the model's own probes.
  const std::string& fingerprint() const { return fingerprint_; }

  // kInvalidArgument when the file has no prompt for a role; the message says how many it has. To
  // be called before long work.
  absl::Status CheckRole(ProbeRole role) const;

  // Up to `count` prompts of a role, fewer when the file has no more. Errors: CheckRole's, those of
  // sampling (Generate). REQUIRES: count >= 1.
  absl::StatusOr<std::vector<std::vector<int32_t>>> Prompts(ProbeRole role,
                                                            int64_t count,
                                                            const ProbeSampler& sampler,
                                                            Progress* progress) const;

  // Up to `count` whole windows of natural text of a role; empty unless the source is text.
  std::vector<std::vector<int32_t>> TextWindows(ProbeRole role, int64_t count) const;

  // Windows of window_tokens() to measure along: those of natural text where the probes are text,
  // else `count` sequences of the model's own, sampled like its prompts, whatever the source. They
  // begin with the prompts of Prompts() unless those are lines of a file. Errors as Prompts.
  absl::StatusOr<std::vector<std::vector<int32_t>>> Windows(ProbeRole role,
                                                            int64_t count,
                                                            const ProbeSampler& sampler,
                                                            Progress* progress) const;

  // TextWindows() as the prompts of Prompts() and the text's own continuations.
  TextProbes MakeTextProbes(ProbeRole role, int64_t count) const;

 private:
  ProbeMaker(const Model& model, const ProbeOptions& options) : model_(model), options_(options) {}

  absl::Status ReadText(const std::string& text);
  absl::Status ReadPrompts(const std::string& text);
  std::vector<const std::vector<int32_t>*> Choose(ProbeRole role, int64_t count) const;
  // The model's own text: sequences of `tokens` each.
  absl::StatusOr<std::vector<std::vector<int32_t>>> Sample(ProbeRole role,
                                                           int64_t count,
                                                           int64_t tokens,
                                                           const ProbeSampler& sampler,
                                                           Progress* progress) const;

  const Model& model_;
  ProbeOptions options_;
  int64_t prefix_tokens_ = 0;
  int64_t completion_tokens_ = 0;
  int64_t context_ = 0;
  std::string fingerprint_;
  std::vector<std::vector<int32_t>> items_;  // windows or prompts, all roles
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_PROBES_H_

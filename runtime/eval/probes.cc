#include "runtime/eval/probes.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstddef>
#include <set>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runtime/base/random.h"
#include "runtime/base/read_file.h"
#include "runtime/base/sha256.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/text_ends.h"
#include "runtime/model/decoder/generate.h"

namespace bitbudget {
namespace {

// Streams of the probe seed.
constexpr uint64_t kChoiceStream = 1;
constexpr uint64_t kFirstTokenStream = 2;

constexpr uint64_t kRoles = 3;

// Greedy tokens after the random first one. LLM-QAT takes 3 to 5.
constexpr int64_t kGreedyTokens = 4;

// Of every eight windows or prompts: one for calibration, three for search, four held out.
ProbeRole RoleOf(size_t index) {
  switch (index % 8) {
    case 0:
      return ProbeRole::kCalibration;
    case 1:
    case 3:
    case 5:
      return ProbeRole::kSearch;
    default:
      return ProbeRole::kHeldOut;
  }
}

}  // namespace

const char* ProbeRoleName(ProbeRole role) {
  switch (role) {
    case ProbeRole::kCalibration:
      return "calibration";
    case ProbeRole::kSearch:
      return "search";
    case ProbeRole::kHeldOut:
      return "held-out";
  }
  return "";
}

const char* ProbeSourceName(ProbeSource source) {
  switch (source) {
    case ProbeSource::kModel:
      return "model";
    case ProbeSource::kText:
      return "text";
    case ProbeSource::kPrompts:
      return "prompts";
  }
  return "";
}

absl::Status ProbeOptions::Validate() const {
  if (prefix_tokens < 1 || completion_tokens < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("probes need at least one prefix token and one completion token, not ",
                     prefix_tokens,
                     " and ",
                     completion_tokens));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ProbeMaker>> ProbeMaker::Create(const Model& model,
                                                               const ProbeOptions& options) {
  BB_RETURN_IF_ERROR(options.Validate());
  std::unique_ptr<ProbeMaker> maker(new ProbeMaker(model, options));
  const int64_t limit = model.config().max_position_embeddings;
  maker->prefix_tokens_ = options.prefix_tokens;
  maker->completion_tokens_ = options.completion_tokens;
  if (options.prefix_tokens > limit - options.completion_tokens) {
    if (limit < 2) {
      return absl::InvalidArgumentError(absl::StrCat(
          model.config_path(), ": max_position_embeddings is ", limit, ", probes need at least 2"));
    }
    const double prefix = static_cast<double>(options.prefix_tokens);
    const double both = prefix + static_cast<double>(options.completion_tokens);
    maker->prefix_tokens_ = std::clamp<int64_t>(
        static_cast<int64_t>(static_cast<double>(limit) * prefix / both), 1, limit - 1);
    maker->completion_tokens_ = limit - maker->prefix_tokens_;
  }
  maker->context_ = maker->prefix_tokens_ + maker->completion_tokens_;

  if (options.source == ProbeSource::kModel) {
    if (model.config().bos_token_id.has_value() && maker->prefix_tokens_ < 2) {
      return absl::InvalidArgumentError(
          absl::StrCat("probes sampled from the model need at least two prefix tokens, the "
                       "beginning-of-sequence token and one more, not ",
                       maker->prefix_tokens_));
    }
    BB_RETURN_IF_ERROR(CheckContext(model.config(), model.config_path(), maker->context_));
    return maker;
  }
  if (model.tokenizer() == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        model.path(),
        ": has no tokenizer (tokenizer.json or tokenizer.model), which probes from text need"));
  }
  BB_ASSIGN_OR_RETURN(const std::string text, ReadFile(options.path, kMaxTextBytes));
  maker->fingerprint_ = Sha256Hex(std::as_bytes(std::span(text)));
  BB_RETURN_IF_ERROR(options.source == ProbeSource::kText ? maker->ReadText(text)
                                                          : maker->ReadPrompts(text));
  BB_RETURN_IF_ERROR(CheckContext(model.config(), model.config_path(), maker->context_));
  return maker;
}

absl::Status ProbeMaker::ReadText(const std::string& text) {
  BB_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens,
                      EncodeText(*model_.tokenizer(), model_.config(), text));
  // The token that the text begins with stands ahead of every window.
  const std::optional<int32_t> bos = model_.config().bos_token_id;
  const int64_t ahead = bos.has_value() ? 1 : 0;
  const int64_t window = context_ - ahead;
  std::set<std::vector<int32_t>> seen;
  for (int64_t start = ahead; start + window <= static_cast<int64_t>(tokens.size());
       start += window) {
    std::vector<int32_t> item;
    if (bos.has_value()) item.push_back(*bos);
    item.insert(item.end(), tokens.begin() + start, tokens.begin() + start + window);
    const std::vector<int32_t> prefix(item.begin(), item.begin() + prefix_tokens_);
    if (seen.insert(prefix).second) items_.push_back(std::move(item));
  }
  return absl::OkStatus();
}

absl::Status ProbeMaker::ReadPrompts(const std::string& text) {
  std::set<std::vector<int32_t>> seen;
  int64_t line_number = 0;
  int64_t longest = 0;
  for (const absl::string_view raw : absl::StrSplit(text, '\n')) {
    ++line_number;
    const absl::string_view line = absl::StripAsciiWhitespace(raw);
    if (line.empty()) continue;
    BB_ASSIGN_OR_RETURN(std::vector<int32_t> item,
                        EncodeText(*model_.tokenizer(), model_.config(), line));
    if (item.empty()) continue;
    const int64_t room = model_.config().max_position_embeddings - completion_tokens_;
    if (static_cast<int64_t>(item.size()) > room) {
      return absl::InvalidArgumentError(
          absl::StrCat(options_.path,
                       ":",
                       line_number,
                       ": the prompt has ",
                       item.size(),
                       " tokens, the context leaves room for ",
                       room,
                       " ahead of ",
                       completion_tokens_,
                       " completion tokens; shorten the prompt or ask for fewer completion "
                       "tokens"));
    }
    longest = std::max(longest, static_cast<int64_t>(item.size()));
    if (seen.insert(item).second) items_.push_back(std::move(item));
  }
  context_ = longest + completion_tokens_;
  return absl::OkStatus();
}

std::vector<const std::vector<int32_t>*> ProbeMaker::Choose(ProbeRole role, int64_t count) const {
  std::vector<size_t> indices;
  for (size_t i = 0; i < items_.size(); ++i) {
    if (RoleOf(i) == role) indices.push_back(i);
  }
  Random random(options_.seed, {kChoiceStream, static_cast<uint64_t>(role)});
  random.Shuffle(indices);
  if (static_cast<int64_t>(indices.size()) > count) indices.resize(count);
  std::sort(indices.begin(), indices.end());
  std::vector<const std::vector<int32_t>*> chosen;
  for (const size_t i : indices) chosen.push_back(&items_[i]);
  return chosen;
}

absl::Status ProbeMaker::CheckRole(ProbeRole role) const {
  if (options_.source == ProbeSource::kModel || !Choose(role, 1).empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      options_.path,
      ": too short: it has ",
      items_.size(),
      options_.source == ProbeSource::kText ? absl::StrCat(" windows of ", context_, " tokens")
                                            : std::string(" prompts"),
      ", none of them for ",
      ProbeRoleName(role),
      " probes; at least 8 are needed for every role to get some"));
}

absl::StatusOr<std::vector<std::vector<int32_t>>> ProbeMaker::Prompts(ProbeRole role,
                                                                      int64_t count,
                                                                      const ProbeSampler& sampler,
                                                                      Progress* progress) const {
  CHECK_GE(count, 1);
  BB_RETURN_IF_ERROR(CheckRole(role));
  if (options_.source != ProbeSource::kModel) {
    std::vector<std::vector<int32_t>> prompts;
    for (const auto* item : Choose(role, count)) {
      prompts.push_back(*item);
      if (options_.source == ProbeSource::kText) prompts.back().resize(prefix_tokens_);
    }
    return prompts;
  }
  return Sample(role, count, prefix_tokens_, sampler, progress);
}

absl::StatusOr<std::vector<std::vector<int32_t>>> ProbeMaker::Sample(ProbeRole role,
                                                                     int64_t count,
                                                                     int64_t tokens,
                                                                     const ProbeSampler& sampler,
                                                                     Progress* progress) const {
  const ModelConfig& config = model_.config();
  std::vector<int32_t> first_tokens;
  for (int64_t token = 0; token < config.vocab_size; ++token) {
    const int32_t id = static_cast<int32_t>(token);
    const bool special = id == config.bos_token_id ||
                         (model_.tokenizer() != nullptr && model_.tokenizer()->IsSpecial(id));
    if (!special) first_tokens.push_back(id);
  }
  if (first_tokens.size() < kRoles) {
    return absl::InvalidArgumentError(absl::StrCat(model_.path(),
                                                   ": has ",
                                                   first_tokens.size(),
                                                   " ordinary tokens to start probes from; ",
                                                   kRoles,
                                                   " are needed, one for each role"));
  }
  Random random(options_.seed, {kFirstTokenStream});
  random.Shuffle(first_tokens);
  GenerateOptions generate;
  const uint64_t first = static_cast<uint64_t>(role);
  // The role owns tokens first, first + kRoles, ...; when they run out it starts over.
  const uint64_t own = (first_tokens.size() - first + kRoles - 1) / kRoles;
  std::vector<std::vector<int32_t>> prompts;
  for (uint64_t i = 0; i < static_cast<uint64_t>(count); ++i) {
    std::vector<int32_t> prompt;
    if (config.bos_token_id.has_value()) prompt.push_back(*config.bos_token_id);
    prompt.push_back(first_tokens[i % own * kRoles + first]);
    prompts.push_back(std::move(prompt));
    generate.streams.push_back(i * kRoles + first);
  }
  generate.max_tokens = tokens - static_cast<int64_t>(prompts[0].size());
  if (generate.max_tokens < 1) return prompts;
  generate.greedy_tokens = kGreedyTokens;
  generate.stop_at_eos = false;
  generate.seed = options_.seed;
  generate.threads = sampler.threads;
  generate.max_kv_bytes = sampler.max_kv_bytes;
  progress->Begin(
      absl::StrCat(
          "sampling ", ProbeRoleName(role), tokens == prefix_tokens_ ? " probes" : " windows"),
      count);
  BB_ASSIGN_OR_RETURN(const std::vector<Generation> sampled,
                      Generate(*sampler.transformer, sampler.weights, prompts, generate, progress));
  progress->End();
  for (size_t i = 0; i < prompts.size(); ++i) {
    prompts[i].insert(prompts[i].end(), sampled[i].tokens.begin(), sampled[i].tokens.end());
  }
  return prompts;
}

std::vector<std::vector<int32_t>> ProbeMaker::TextWindows(ProbeRole role, int64_t count) const {
  std::vector<std::vector<int32_t>> windows;
  if (options_.source != ProbeSource::kText) return windows;
  for (const auto* item : Choose(role, count)) windows.push_back(*item);
  return windows;
}

int64_t ProbeMaker::window_tokens() const {
  return std::min(context_, prefix_tokens_ + completion_tokens_);
}

absl::StatusOr<std::vector<std::vector<int32_t>>> ProbeMaker::Windows(ProbeRole role,
                                                                      int64_t count,
                                                                      const ProbeSampler& sampler,
                                                                      Progress* progress) const {
  CHECK_GE(count, 1);
  if (options_.source != ProbeSource::kText) {
    return Sample(role, count, window_tokens(), sampler, progress);
  }
  BB_RETURN_IF_ERROR(CheckRole(role));
  return TextWindows(role, count);
}

TextProbes ProbeMaker::MakeTextProbes(ProbeRole role, int64_t count) const {
  TextProbes probes;
  for (const std::vector<int32_t>& window : TextWindows(role, count)) {
    const auto middle = window.begin() + prefix_tokens_;
    probes.prompts.emplace_back(window.begin(), middle);
    probes.continuations.push_back({{middle, window.end()}, {}, {}});
  }
  return probes;
}

}  // namespace bitbudget

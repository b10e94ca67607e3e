#include "planner/runs/shared_probes.h"

#include <glog/logging.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "planner/runs/messages.h"
#include "runtime/base/sha256.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// Stands for what is no assignment in the store.
constexpr char kNoiseFloor[] = "noise floor";
constexpr char kOwn[] = "the reference";

using Prompts = std::vector<std::vector<int32_t>>;

// Names a probe by its prompt: with the run's identity it decides the completion.
std::string ProbeName(const std::vector<int32_t>& tokens) {
  return Sha256Hex(std::as_bytes(std::span(tokens)));
}

// The sequences of make(), stored under `key`.
absl::StatusOr<Prompts> Remembered(Run* run,
                                   const std::string& key,
                                   const std::function<absl::StatusOr<Prompts>()>& make) {
  BB_ASSIGN_OR_RETURN(const std::string stored,
                      run->Remember(key, [&]() -> absl::StatusOr<std::string> {
                        BB_ASSIGN_OR_RETURN(const Prompts sequences, make());
                        return SerializeSequences(sequences);
                      }));
  return ParseSequences(stored, "the run store");
}

// Without the last token, behind which nothing is predicted.
WeightedSequences SequencesOf(const Prompts& prompts, std::span<const Generation> completions) {
  WeightedSequences sequences;
  for (size_t i = 0; i < prompts.size(); ++i) {
    std::vector<int32_t>& tokens = sequences.tokens.emplace_back(prompts[i]);
    tokens.insert(tokens.end(), completions[i].tokens.begin(), completions[i].tokens.end());
    tokens.pop_back();
    std::vector<float>& weights = sequences.weights.emplace_back();
    for (size_t row = 0; row < tokens.size(); ++row) {
      const bool text = row + 1 < prompts[i].size();
      weights.push_back(!text ? kCompletionWeight : row + 1 >= kTextPromptTokens ? 1 : 0);
    }
  }
  return sequences;
}

}  // namespace

WeightedSequences WeightedSequences::First(size_t count) const {
  count = std::min(count, tokens.size());
  return {{tokens.begin(), tokens.begin() + count}, {weights.begin(), weights.begin() + count}};
}

std::vector<float> WeightedSequences::AllWeights() const {
  std::vector<float> all;
  for (const std::vector<float>& of_one : weights) {
    all.insert(all.end(), of_one.begin(), of_one.end());
  }
  return all;
}

std::string WeightedSequences::Sha256() const {
  bitbudget::Sha256 hash;
  for (size_t i = 0; i < tokens.size(); ++i) {
    hash.Update(absl::StrCat(tokens[i].size(), "\n"));
    hash.Update(std::as_bytes(std::span(tokens[i])));
    hash.Update(std::as_bytes(std::span(weights[i])));
  }
  return hash.Finish();
}

absl::StatusOr<std::unique_ptr<SharedProbes>> SharedProbes::Create(const ProbeMaker& maker,
                                                                   ProbeRole role,
                                                                   int64_t count,
                                                                   Workspace* workspace,
                                                                   Run* run,
                                                                   Progress* progress,
                                                                   Completions followed) {
  Communicator& ranks = run->ranks();
  const std::string set =
      absl::StrCat(ProbeRoleName(role), followed == Completions::kText ? " text" : "");
  const std::string key = absl::StrCat("completions/", set, "/", count);
  Prompts prompts;
  std::vector<Generation> completions;
  if (followed == Completions::kText) {
    BB_RETURN_IF_ERROR(maker.CheckRole(role));
    TextProbes probes = maker.MakeTextProbes(role, count);
    prompts = std::move(probes.prompts);
    completions = std::move(probes.continuations);
  } else {
    BB_ASSIGN_OR_RETURN(
        prompts, Remembered(run, absl::StrCat("prompts/", ProbeRoleName(role), "/", count), [&] {
          return maker.Prompts(role, count, workspace->sampler(), progress);
        }));
    // Completions are kept for all probes, whoever made them.
    BB_ASSIGN_OR_RETURN(const std::optional<std::string> stored, run->Recall(key));
    if (stored.has_value()) {
      BB_ASSIGN_OR_RETURN(
          completions,
          ParseCompletions(*stored, static_cast<int64_t>(prompts.size()), "the run store"));
    }
  }
  const int64_t size = static_cast<int64_t>(prompts.size());
  if (size < ranks.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("there are ",
                     size,
                     " ",
                     set,
                     " probes for ",
                     ranks.size(),
                     " ranks; start at most as many ranks as probes"));
  }

  std::unique_ptr<SharedProbes> shared(new SharedProbes(workspace, run));
  absl::StatusOr<ProbeSet> own = MakeProbeSet(Dealt<std::vector<int32_t>>(ranks, prompts),
                                              maker.completion_tokens(),
                                              Dealt<Generation>(ranks, completions),
                                              workspace,
                                              progress);
  BB_ASSIGN_OR_RETURN(const std::vector<std::string> sent,
                      ranks.Exchange(key,
                                     own.ok() ? absl::StatusOr<std::string>(SerializeCompletions(
                                                    CompletionsOf(*own->reference)))
                                              : absl::StatusOr<std::string>(own.status())));
  shared->own_ = *std::move(own);
  if (completions.empty()) {
    std::vector<std::vector<Generation>> parts;
    for (int r = 0; r < ranks.size(); ++r) {
      const int64_t own_count = DealtRange(r, ranks.size(), {0, size}).count;
      BB_ASSIGN_OR_RETURN(std::vector<Generation> part,
                          ParseCompletions(sent[r], own_count, absl::StrCat("rank ", r)));
      parts.push_back(std::move(part));
    }
    for (int64_t i = 0; i < size; ++i) {
      completions.push_back(std::move(parts[i % ranks.size()][i / ranks.size()]));
    }
    BB_RETURN_IF_ERROR(run->Keep(key, SerializeCompletions(completions)));
  }

  std::vector<int64_t> rows;
  std::vector<std::string> names;
  for (int64_t i = 0; i < size; ++i) {
    // Probe::rows() of what the rank that has it runs.
    rows.push_back(static_cast<int64_t>(prompts[i].size() + completions[i].tokens.size()) - 1);
    names.push_back(ProbeName(prompts[i]));
  }
  CandidateEvaluator* evaluator = shared->own_.evaluator.get();
  if (ranks.size() > 1) {
    shared->distributed_ =
        std::make_unique<DistributedEvaluator>(evaluator, &ranks, std::move(rows));
    evaluator = shared->distributed_.get();
  }
  BB_ASSIGN_OR_RETURN(std::vector<int64_t> ids, run->ProbeIds(set, names));
  shared->stored_ = std::make_unique<StoredEvaluator>(evaluator, run, std::move(ids));
  shared->sequences_ = SequencesOf(prompts, completions);
  shared->WeightsChanged();
  return shared;
}

absl::StatusOr<Evaluation> SharedProbes::EvaluateFromScratch(const Assignment& assignment) {
  const ProbeRange all = {0, size()};
  return stored_->Measure(
      CandidateName(assignment, workspace_.weights_name()), all, TokenKls::kKept, [&] {
        return GatherDealt(run_.ranks(),
                           "a whole assignment",
                           all,
                           own_.evaluator->EvaluateFromScratch(assignment, TokenKls::kKept));
      });
}

absl::StatusOr<Evaluation> SharedProbes::EvaluateModel(const Model& other) {
  const std::string name =
      CandidateName(StoredAssignment(other), absl::StrCat("model ", other.Fingerprint()));
  return stored_->Measure(name, {0, size()}, TokenKls::kKept, [&] {
    return GatherDealt(
        run_.ranks(), "another model", {0, size()}, EvaluateStored(other, own_, &workspace_));
  });
}

absl::StatusOr<Evaluation> SharedProbes::NoiseFloor() {
  const ProbeRange first = {0, std::min(size(), kNoiseFloorProbes)};
  return stored_->Measure(kNoiseFloor, first, TokenKls::kSummed, [&] {
    Communicator& ranks = run_.ranks();
    const int64_t own = DealtRange(ranks.rank(), ranks.size(), first).count;
    return GatherDealt(
        ranks, kNoiseFloor, first, own > 0 ? own_.evaluator->NoiseFloor(own) : Evaluation());
  });
}

absl::StatusOr<Evaluation> SharedProbes::Own() {
  const ProbeRange all = {0, size()};
  return stored_->Measure(kOwn, all, TokenKls::kSummed, [&] {
    return GatherDealt(run_.ranks(), kOwn, all, absl::StatusOr<Evaluation>(own_.reference->Own()));
  });
}

}  // namespace bitbudget

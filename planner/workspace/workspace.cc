#include "planner/workspace/workspace.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/encoders.h"

namespace bitbudget {
namespace {

// The part of the memory for weights that Gram matrices may take.
int64_t GramBytes(const Encoder& encoder, const MemoryPlan& memory) {
  return encoder.needs() == StatsNeed::kGram ? memory.weights / 4 : 0;
}

// That Fisher information may take.
int64_t FisherBytes(const WorkspaceOptions& options, const MemoryPlan& memory) {
  return options.pruning == Pruning::kFisher ? memory.weights / 4 : 0;
}

}  // namespace

bool Workspace::TunesLayers() const { return (*FindEncoder(options_.encoder))->tunes_layers; }

bool Workspace::WeighsTokens() const { return (*FindEncoder(options_.encoder))->weighs_tokens; }

Workspace::Workspace(const Model& model,
                     const WorkspaceOptions& options,
                     const MemoryPlan& memory,
                     std::unique_ptr<Encoder> encoder,
                     int64_t context)
    : model_(model),
      options_(options),
      memory_(memory),
      encoder_(std::move(encoder)),
      weight_encoder_(model, *encoder_),
      tuning_(model, weight_encoder_),
      recovered_(model, tuning_),
      checked_encoder_(model, recovered_),
      grams_(GramBytes(*encoder_, memory), options.spill_directory),
      fisher_(FisherBytes(options, memory), options.spill_directory),
      transformer_(model, context),
      bank_(model,
            checked_encoder_,
            {options.activations,
             memory.weights - GramBytes(*encoder_, memory) - FisherBytes(options, memory),
             options.spill_directory}),
      reference_(bank_.Reference()) {
  weight_encoder_.SetPruning(options.pruning);
}

void Workspace::UseRecovered(RecoveredWeights weights) {
  bank_.UseVectors(weights.vectors());
  recovered_.Use(std::move(weights));
}

absl::StatusOr<std::unique_ptr<Workspace>> Workspace::Create(const Model& model,
                                                             const WorkspaceOptions& options,
                                                             int64_t context,
                                                             const MemoryPlan& memory) {
  BB_RETURN_IF_ERROR(CheckContext(model.config(), model.config_path(), context));
  if (context > model.config().max_position_embeddings) {
    return absl::InvalidArgumentError(absl::StrCat(model.config_path(),
                                                   ": max_position_embeddings is ",
                                                   model.config().max_position_embeddings,
                                                   ", but ",
                                                   context,
                                                   " positions are to be run"));
  }
  BB_ASSIGN_OR_RETURN(std::unique_ptr<Encoder> encoder, MakeEncoder(options.encoder));
  return std::unique_ptr<Workspace>(
      new Workspace(model, options, memory, std::move(encoder), context));
}

void Workspace::UseWeights(const TrainedWeights* weights) {
  const std::string name = weights != nullptr ? weights->name : "";
  if (name == weights_name_) return;
  weight_encoder_.UseWeights(weights != nullptr ? &weights->values : nullptr);
  bank_.Forget();
  weights_name_ = name;
}

absl::StatusOr<Assignment> UniformAssignment(const Format& format, const Model& model) {
  for (const Component& component : model.components()) {
    BB_RETURN_IF_ERROR(CheckFits(format, component));
  }
  return Assignment(model.components().size(), format);
}

int64_t AssignmentBytes(const Assignment& assignment, const Model& model) {
  int64_t bytes = model.fixed_bytes();
  for (size_t c = 0; c < assignment.size(); ++c) {
    const Component& component = model.components()[c];
    bytes += SizeBytes(assignment[c], component.rows, component.cols);
  }
  return bytes;
}

double BitsPerWeight(int64_t bytes, const Model& model) {
  return 8.0 * static_cast<double>(bytes) / static_cast<double>(model.parameter_count());
}

}  // namespace bitbudget

#include "planner/jobs/equalize_job.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "planner/output/folder_output.h"
#include "planner/workspace/workspace.h"
#include "runtime/base/aligned_buffer.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/decoder/token_pass.h"
#include "runtime/quantize/clip_encoder.h"
#include "runtime/quantize/rtn_encoder.h"
#include "runtime/training/layer_gradient.h"

namespace bitbudget {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

// Whole windows of text; of other sources prompts.
absl::StatusOr<Sequences> SequencesOf(const ProbeMaker& maker,
                                      ProbeRole role,
                                      int64_t count,
                                      Workspace* workspace,
                                      Progress* progress) {
  Sequences windows = maker.TextWindows(role, count);
  if (!windows.empty()) return windows;
  return maker.Prompts(role, count, workspace->sampler(), progress);
}

// Their embeddings.
absl::StatusOr<LayerInputs> Embed(const Sequences& sequences,
                                  Workspace* workspace,
                                  Progress* progress) {
  TokenPass pass(workspace->transformer(), sequences, workspace->options().threads);
  LayerInputs inputs;
  for (int64_t s = 0; s < pass.sequences(); ++s) inputs.lengths.push_back(pass.Length(s));
  inputs.x.resize(pass.total_rows(), workspace->model().config().hidden_size);
  BB_RETURN_IF_ERROR(pass.Advance(workspace->reference(), 0, 1, inputs.x.data(), progress));
  return inputs;
}

// The matrices of the folded model, as f32. Tensors of one layer are asked for one after the other.
class FoldedWeights final : public WeightEncoder {
 public:
  FoldedWeights(const Model& model, std::span<const LayerScales> scales)
      : model_(model), scales_(scales), encoder_(MakeRtnEncoder()) {}

  absl::StatusOr<Encoding> Encode(ComponentId id,
                                  const Format& format,
                                  int threads) const override {
    const Component& component = model_.component(id);
    if (component.layer < 0) {
      return encoder_->Encode(model_.Weight(id), format, {}, threads);
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    const Matrix<float>& matrix =
        Layer(component.layer).matrices[id - LayerComponentId(component.layer, 0)];
    return encoder_->Encode(
        ViewOf({matrix.data(), static_cast<size_t>(matrix.size())}, matrix.rows(), matrix.cols()),
        format,
        {},
        threads);
  }

  // The norms and biases of all layers as a checkpoint holds them, by name.
  std::map<std::string, std::vector<float>> Vectors() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    VectorsByLayer vectors;
    for (int layer = 0; layer < model_.config().num_hidden_layers; ++layer) {
      vectors[layer] = VectorsOf(Layer(layer));
    }
    return CheckpointVectors(model_.config(), vectors);
  }

 private:
  const LayerParameters<float>& Layer(int layer) const {
    if (layer != folded_) {
      parameters_ = ReadLayer<float>(model_, layer);
      FoldScales(model_.config(), scales_[layer], &parameters_);
      folded_ = layer;
    }
    return parameters_;
  }

  const Model& model_;
  std::span<const LayerScales> scales_;
  std::unique_ptr<Encoder> encoder_;
  mutable std::mutex mutex_;
  mutable int folded_ = -1;  // the layer that parameters_ are of
  mutable LayerParameters<float> parameters_;
};

// The residual streams x[tokens of all sequences][hidden] behind the last layer.
absl::StatusOr<AlignedBuffer<float>> LastStreams(TokenPass* pass,
                                                 Workspace* workspace,
                                                 Progress* progress) {
  const ModelConfig& config = workspace->model().config();
  AlignedBuffer<float> x(pass->total_rows() * config.hidden_size);
  BB_RETURN_IF_ERROR(
      pass->Advance(workspace->reference(), 0, NumStages(config) - 1, x.data(), progress));
  return x;
}

// sum p (ln p - ln q) of the distributions of two rows of logits.
double Divergence(std::span<const float> p, std::span<const float> q) {
  const auto log_sum = [](std::span<const float> x) {
    const double largest = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (const float value : x) sum += std::exp(value - largest);
    return largest + std::log(sum);
  };
  const double p_sum = log_sum(p);
  const double q_sum = log_sum(q);
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double log_p = p[i] - p_sum;
    sum += std::exp(log_p) * (log_p - (q[i] - q_sum));
  }
  return sum;
}

absl::Status MeasureDivergence(const Sequences& sequences,
                               Workspace* original,
                               Workspace* folded,
                               Progress* progress,
                               EqualizeReport* report) {
  const int threads = original->options().threads;
  const ModelConfig& config = original->model().config();
  const int last = NumStages(config) - 1;
  TokenPass pass(original->transformer(), sequences, threads);
  TokenPass folded_pass(folded->transformer(), sequences, threads);
  BB_ASSIGN_OR_RETURN(const auto stream, LastStreams(&pass, original, progress));
  BB_ASSIGN_OR_RETURN(const auto folded_stream, LastStreams(&folded_pass, folded, progress));
  BB_ASSIGN_OR_RETURN(const WeightLease head, original->reference()->Pin(last, last + 1, threads));
  BB_ASSIGN_OR_RETURN(const WeightLease folded_head,
                      folded->reference()->Pin(last, last + 1, threads));
  const int64_t count = static_cast<int64_t>(sequences.size());
  const int64_t width = config.hidden_size;
  std::vector<double> sums(count);
  std::vector<double> largest(count);
  std::vector<ForwardScratch> scratch(threads);
  ParallelFor(threads, count, [&](int64_t i, int worker) {
    ForwardScratch& own = scratch[worker];
    const int64_t rows = static_cast<int64_t>(sequences[i].size());
    for (int64_t from = 0; from < rows; from += kLogitRows) {
      const int64_t some = std::min(kLogitRows, rows - from);
      own.logits.Resize(some * config.vocab_size);
      own.reference_logits.Resize(some * config.vocab_size);
      original->transformer().Logits(head.set(),
                                     stream.data() + (pass.FirstRow(i) + from) * width,
                                     width,
                                     some,
                                     own.reference_logits.data(),
                                     &own.workspace);
      folded->transformer().Logits(folded_head.set(),
                                   folded_stream.data() + (pass.FirstRow(i) + from) * width,
                                   width,
                                   some,
                                   own.logits.data(),
                                   &own.workspace);
      for (int64_t row = 0; row < some; ++row) {
        const int64_t at = row * config.vocab_size;
        const double divergence =
            Divergence(own.reference_logits.span().subspan(at, config.vocab_size),
                       own.logits.span().subspan(at, config.vocab_size));
        sums[i] += divergence;
        largest[i] = std::max(largest[i], divergence);
      }
    }
  });
  for (int64_t i = 0; i < count; ++i) {
    report->divergence += sums[i];
    report->largest_divergence = std::max(report->largest_divergence, largest[i]);
  }
  report->divergence /= static_cast<double>(std::max<int64_t>(pass.total_rows(), 1));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Workspace>> MakeWorkspace(const Model& model,
                                                         const EqualizeJobOptions& options,
                                                         int64_t context) {
  WorkspaceOptions workspace_options = options.workspace;
  workspace_options.activations = Activations::kF32;
  return Workspace::Create(model, workspace_options, context);
}

// Refuses an output folder that cannot be written, before long work.
absl::Status CheckOutput(const Model& model, const std::string& folder) {
  std::error_code error;
  if (!std::filesystem::is_directory(model.path(), error)) {
    return absl::UnimplementedError(
        absl::StrCat(model.path(), ": only a model folder can be equalized"));
  }
  if (std::filesystem::exists(folder, error) && !std::filesystem::is_empty(folder, error)) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder, ": exists and is not an empty folder; remove it or name another"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status EqualizeJobOptions::Validate() const {
  if (probe_count < 4) {
    return absl::InvalidArgumentError(absl::StrCat(
        probe_count, " calibration sequences; at least 4 are needed, as some are held aside"));
  }
  if (format.IsFloat() || format.kind == FormatKind::kRemoved ||
      format.kind == FormatKind::kOneBit) {
    return absl::InvalidArgumentError(absl::StrCat(
        "format ", format.Name(), ": channels are evened out for integer and block formats only"));
  }
  return workspace.Validate();
}

absl::Status WriteEqualizedFolder(const Model& model,
                                  std::span<const LayerScales> scales,
                                  std::optional<Format> float_type,
                                  const std::string& folder,
                                  int threads,
                                  Progress* progress) {
  const FoldedWeights weights(model, scales);
  FolderOutputOptions output;
  output.float_type = float_type;
  output.vectors = weights.Vectors();
  const Assignment assignment(model.components().size(), kFormatF32);
  return WriteModelFolder({model, assignment, weights, threads}, output, folder, progress);
}

absl::StatusOr<EqualizeReport> RunEqualizeJob(const Model& model,
                                              const EqualizeJobOptions& options,
                                              Progress* progress) {
  BB_RETURN_IF_ERROR(options.Validate());
  BB_RETURN_IF_ERROR(CheckOutput(model, options.out));
  const ModelConfig& config = model.config();
  for (int i = 0; i < kLayerMatrices; ++i) {
    BB_RETURN_IF_ERROR(CheckFits(options.format, model.component(LayerComponentId(0, i))));
  }
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<ProbeMaker> maker,
                      ProbeMaker::Create(model, options.workspace.probes));
  BB_RETURN_IF_ERROR(maker->CheckRole(ProbeRole::kHeldOut));
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Workspace> workspace,
                      MakeWorkspace(model, options, maker->context()));
  BB_ASSIGN_OR_RETURN(
      const Sequences all,
      SequencesOf(*maker, ProbeRole::kCalibration, options.probe_count, workspace.get(), progress));
  Sequences chosen;
  Sequences aside;
  for (size_t i = 0; i < all.size(); ++i) (i % 4 == 3 ? aside : chosen).push_back(all[i]);
  if (aside.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        options.workspace.probes.path, ": ", all.size(), " calibration sequences, 4 are needed"));
  }
  BB_ASSIGN_OR_RETURN(LayerInputs inputs, Embed(chosen, workspace.get(), progress));
  BB_ASSIGN_OR_RETURN(LayerInputs held, Embed(aside, workspace.get(), progress));

  EqualizeReport report;
  report.tokens = inputs.x.rows();
  report.held_tokens = held.x.rows();
  EqualizeOptions layer_options;
  layer_options.format = options.format;
  layer_options.token_bits = TokenBits(options.workspace.activations);
  layer_options.iterations = options.iterations;
  layer_options.threads = options.workspace.threads;
  const std::unique_ptr<Encoder> encoder = MakeClipEncoder();
  std::vector<LayerScales> scales;
  progress->Begin("equalizing layers", config.num_hidden_layers);
  for (int b = 0; b < config.num_hidden_layers; ++b) {
    if (progress->Interrupted()) return absl::CancelledError("interrupted");
    const LayerParameters<float> parameters = ReadLayer<float>(model, b);
    BB_ASSIGN_OR_RETURN(
        LayerEqualization layer,
        EqualizeLayer({config, b, parameters, inputs}, held, *encoder, layer_options));
    progress->Update(
        b + 1,
        absl::StrFormat(
            "layer output error %.3g, was %.3g", layer.held_error_after, layer.held_error_before));
    scales.push_back(layer.scales);
    report.layers.push_back(std::move(layer));
    for (LayerInputs* next : {&inputs, &held}) {
      LayerTrace<float> trace;
      DecoderLayer<float>(
          config, b, {.max_positions = maker->context(), .threads = options.workspace.threads})
          .Forward(parameters, *next, &trace);
      next->x = std::move(trace.outputs);
    }
  }
  progress->End();
  BB_RETURN_IF_ERROR(WriteEqualizedFolder(
      model, scales, options.float_type, options.out, options.workspace.threads, progress));

  BB_ASSIGN_OR_RETURN(
      const Sequences held_out,
      SequencesOf(*maker, ProbeRole::kHeldOut, options.probe_count, workspace.get(), progress));
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> folded,
                      Model::Load(options.out, options.workspace.threads));
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Workspace> folded_workspace,
                      MakeWorkspace(*folded, options, maker->context()));
  BB_RETURN_IF_ERROR(
      MeasureDivergence(held_out, workspace.get(), folded_workspace.get(), progress, &report));
  return report;
}

}  // namespace bitbudget

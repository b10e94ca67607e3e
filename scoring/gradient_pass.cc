#include "scoring/gradient_pass.h"

#include <algorithm>
#include <memory>

#include "runtime/base/status_macros.h"
#include "scoring/kfac.h"

namespace bitbudget {
namespace {

// Progress is counted in weights that are passed: forward once, back so many times, as a layer is
// run again, multiplied by twice, and its gradients are looked at.
constexpr int64_t kBackwardPasses = 4;

// A loss of all rows, for a batch of them.
class PartOfLoss final : public LogitLoss<float> {
 public:
  PartOfLoss(int64_t first_row, LogitLoss<float>* loss) : first_row_(first_row), loss_(loss) {}
  double Apply(int64_t first, Matrix<float>* logits) override {
    return loss_->Apply(first_row_ + first, logits);
  }

 private:
  int64_t first_row_;
  LogitLoss<float>* loss_;
};

// A model's layers and the sink, with errors and progress.
class Pass final : public LayerSource<float>,
                   public GradientVisitor<float>,
                   public ProductObserver<float> {
 public:
  Pass(const ModelEnds<float>& ends,
       LayerSource<float>* layers,
       const ScoreContext& context,
       GradientSink* sink)
      : context_(context), model_(*context.model), ends_(ends), layers_(*layers), sink_(sink) {
    for (const Component& component : model_.components()) {
      if (component.layer == 0) layer_weights_ += component.rows * component.cols;
    }
    const Component& head = model_.component(model_.head());
    head_weights_ = head.rows * head.cols;
  }

  absl::Status Run(std::span<const Batch> batches, LogitLoss<float>* loss) {
    ModelGradientOptions options;
    for (const std::vector<int32_t>& sequence : context_.sequences) {
      options.max_positions =
          std::max(options.max_positions, static_cast<int64_t>(sequence.size()));
    }
    options.threads = context_.threads;
    options.interrupted = [this] { return !status_.ok() || context_.progress->Interrupted(); };
    const int64_t layers = model_.config().num_hidden_layers;
    context_.progress->Begin(
        "gradients",
        static_cast<int64_t>(batches.size()) *
            (kBackwardPasses * head_weights_ + layers * (1 + kBackwardPasses) * layer_weights_));
    ModelGradient<float> gradient(model_, options);
    for (const Batch& batch : batches) {
      PartOfLoss part(batch.first_row, loss);
      batch_ = batch;
      backward_ = false;
      gradient.Forward(ends_, this, context_.sequences.subspan(batch.first, batch.count));
      backward_ = true;
      if (!options.interrupted()) gradient.Backward(ends_, this, &part, this);
      if (options.interrupted()) break;
    }
    BB_RETURN_IF_ERROR(status_);
    if (context_.progress->Interrupted()) return absl::CancelledError("interrupted");
    context_.progress->End();
    return absl::OkStatus();
  }

  const LayerWeights<float>& Layer(int layer) override {
    if (!backward_) Passed(layer_weights_);
    return layers_.Layer(layer);
  }

  // Collects the parts of the rows into sequences.
  void Head(const Matrix<float>& x, const Matrix<float>& d_logits) override {
    for (int64_t row = 0; row < x.rows();) {
      const int64_t length = static_cast<int64_t>(context_.sequences[sequence_].size());
      if (filled_ == 0) {
        head_x_.resize(length, x.cols());
        head_d_.resize(length, d_logits.cols());
      }
      const int64_t count = std::min(length - filled_, x.rows() - row);
      head_x_.middleRows(filled_, count) = x.middleRows(row, count);
      head_d_.middleRows(filled_, count) = d_logits.middleRows(row, count);
      filled_ += count;
      row += count;
      if (filled_ < length) continue;
      if (status_.ok()) status_ = sink_->Head(sequence_, head_x_, head_d_);
      filled_ = 0;
      ++sequence_;
      Passed(kBackwardPasses * head_weights_ / batch_.count);
    }
  }

  LayerBackward<float> Want(int layer) override {
    layer_ = layer;
    return {.products = this};
  }

  void Product(LayerMatrix which, const Matrix<float>& x, const Matrix<float>& d_y) override {
    if (!status_.ok()) return;
    status_ = sink_->Product(LayerComponentId(layer_, which), x, d_y);
    const Component& component = model_.component(LayerComponentId(layer_, which));
    Passed(kBackwardPasses * component.rows * component.cols);
  }

  void Embedding(std::span<const int32_t> tokens, const Matrix<float>& gradient) override {
    if (status_.ok()) status_ = sink_->Lookup(tokens, gradient);
  }

 private:
  void Passed(int64_t weights) {
    passed_ += weights;
    context_.progress->Update(passed_);
  }

  const ScoreContext& context_;
  const Model& model_;
  const ModelEnds<float>& ends_;
  LayerSource<float>& layers_;
  GradientSink* const sink_;
  int64_t layer_weights_ = 0;
  int64_t head_weights_ = 0;
  int64_t passed_ = 0;
  Batch batch_;
  bool backward_ = false;
  int layer_ = 0;
  int64_t sequence_ = 0;  // that is being collected, and how many of its rows are
  int64_t filled_ = 0;
  Matrix<float> head_x_;
  Matrix<float> head_d_;
  absl::Status status_;
};

}  // namespace

absl::Status RunGradientPass(const ScoreContext& context,
                             LogitLoss<float>* loss,
                             GradientSink* sink) {
  Batch all;
  all.count = static_cast<int64_t>(context.sequences.size());
  return RunGradientPasses(context, {&all, 1}, loss, sink);
}

absl::Status RunGradientPassOf(const ModelEnds<float>& ends,
                               LayerSource<float>* layers,
                               const ScoreContext& context,
                               LogitLoss<float>* loss,
                               GradientSink* sink) {
  Batch all;
  all.count = static_cast<int64_t>(context.sequences.size());
  return Pass(ends, layers, context, sink).Run({&all, 1}, loss);
}

absl::Status RunGradientPasses(const ScoreContext& context,
                               std::span<const Batch> batches,
                               LogitLoss<float>* loss,
                               GradientSink* sink) {
  CheckpointLayers<float> layers(*context.model);
  return Pass(*ReadEnds<float>(*context.model), &layers, context, sink).Run(batches, loss);
}

int64_t GradientPassBytes(const ModelConfig& config,
                          int64_t rows,
                          int64_t longest,
                          int64_t formats) {
  const int64_t hidden = config.hidden_size;
  const int64_t q = config.q_size();
  const int64_t kv = config.kv_size();
  const int64_t ffn = config.intermediate_size;
  const int64_t widest = std::max({hidden, q, ffn});
  const int64_t streams = rows * hidden * (config.num_hidden_layers + 1);
  // LayerTrace, the gradients by its values, and a packed copy of the widest.
  const int64_t layer_rows = rows * (2 * (5 * hidden + 3 * q + 3 * kv + 3 * ffn) + 2 * widest);
  // As stored and packed for two products.
  const int64_t layer = 3 * (hidden * (2 * q + 2 * kv) + 3 * hidden * ffn);
  const int64_t ends = 5 * config.vocab_size * hidden;
  // Gram matrices or gradients of the largest component, with its change and products of these.
  const int64_t largest = std::max(config.vocab_size * hidden, 2 * widest * widest + rows * widest);
  const int64_t pairs = formats * kKfacRows * std::max(rows, kKfacRows);
  const int64_t head = (3 * (128 + longest) + kKfacHeadRows) * config.vocab_size;
  return static_cast<int64_t>(sizeof(float)) *
         (streams + layer_rows + layer + ends + 4 * largest + pairs + head);
}

}  // namespace bitbudget

#ifndef BITBUDGET_RUNTIME_TRAINING_MODEL_GRADIENT_H_
#define BITBUDGET_RUNTIME_TRAINING_MODEL_GRADIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/model/decoder/model.h"
#include "runtime/quantize/matrix.h"
#include "runtime/training/layer_gradient.h"
#include "runtime/training/products.h"

namespace bitbudget {

// Reverse mode of a whole decoder: embedding, layers, final norm and head. Layers run one after the
// other over all rows of a batch of sequences. Between the passes only the streams ahead of every
// layer are kept; the backward pass computes a layer's intermediate values again.

// The parameters outside the layers.
template <typename T>
class ModelEnds {
 public:
  // Embedding and head [vocab, hidden]; no head: the embedding is used for both.
  ModelEnds(Matrix<T> embedding, RowVector<T> final_norm, std::optional<Matrix<T>> head)
      : embedding_(std::move(embedding)),
        final_norm_(std::move(final_norm)),
        head_(std::move(head)),
        product_(head_.has_value() ? *head_ : embedding_) {}
  // Its products refer to its matrices.
  ModelEnds(const ModelEnds&) = delete;
  ModelEnds& operator=(const ModelEnds&) = delete;

  const Matrix<T>& embedding() const { return embedding_; }
  const RowVector<T>& final_norm() const { return final_norm_; }
  const ProductWeights<T>& head() const { return product_; }

 private:
  Matrix<T> embedding_;
  RowVector<T> final_norm_;
  std::optional<Matrix<T>> head_;
  ProductWeights<T> product_;
};

// Those of the checkpoint.
template <typename T>
std::unique_ptr<ModelEnds<T>> ReadEnds(const Model& model);

// Where a pass gets the layers from: an implementation decides what stays in memory. The result is
// valid until the next call.
template <typename T>
class LayerSource {
 public:
  virtual ~LayerSource() = default;
  virtual const LayerWeights<T>& Layer(int layer) = 0;
};

// The layers of the checkpoint, read one at a time.
template <typename T>
class CheckpointLayers final : public LayerSource<T> {
 public:
  explicit CheckpointLayers(const Model& model) : model_(model) {}
  const LayerWeights<T>& Layer(int layer) override;

 private:
  const Model& model_;
  int layer_ = -1;
  LayerParameters<T> parameters_;
  std::optional<LayerWeights<T>> weights_;
};

// A loss of the logits, row by row. Rows are those of all sequences of a batch, one after the
// other.
template <typename T>
class LogitLoss {
 public:
  virtual ~LogitLoss() = default;
  // Given the logits [count, vocab] of rows [first, first + count), returns their part of the loss
  // and replaces them by its gradient.
  virtual double Apply(int64_t first, Matrix<T>* logits) = 0;
};

// Takes what a backward pass gives. Called in the order of the pass: head, final norm, layers from
// the last to the first, embedding.
template <typename T>
class GradientVisitor {
 public:
  virtual ~GradientVisitor() = default;
  // The head's inputs [rows, hidden] and the gradient [rows, vocab] by its outputs; a part of the
  // rows at a time.
  virtual void Head(const Matrix<T>& /*x*/, const Matrix<T>& /*d_logits*/) {}
  virtual void FinalNorm(const RowVector<T>& /*gradient*/) {}
  // What to form for a layer, and that it is there.
  virtual LayerBackward<T> Want(int /*layer*/) { return {}; }
  virtual void Done(int /*layer*/) {}
  // The stream x [rows, hidden] ahead of a layer (behind the last one: ahead of the final norm).
  // May add the gradient of a further loss to d_x.
  virtual void Stream(int /*layer*/, const Matrix<T>& /*x*/, Matrix<T>* /*d_x*/) {}
  // The gradient [rows, hidden] by the embedding's rows of the tokens.
  virtual void Embedding(std::span<const int32_t> /*tokens*/, const Matrix<T>& /*gradient*/) {}
};

struct ModelGradientOptions {
  int64_t max_positions = 0;
  int token_bits = 0;  // DecoderLayerOptions
  int threads = 1;
  // Keep the intermediate values of the layers between the passes, in place of computing them
  // again: a quarter less work, for much memory.
  bool keep_traces = false;
  // Asked ahead of every layer and every part of the head. True ends the pass, whose results are
  // then of no use.
  std::function<bool()> interrupted = {};
};

// Results do not depend on the number of threads. Not thread-safe.
template <typename T>
class ModelGradient {
 public:
  // The model outlives it.
  ModelGradient(const Model& model, const ModelGradientOptions& options);

  int layers() const { return static_cast<int>(layers_.size()); }

  // Runs the sequences up to the final norm.
  void Forward(const ModelEnds<T>& ends,
               LayerSource<T>* source,
               std::span<const std::vector<int32_t>> sequences);
  // The stream [rows, hidden] ahead of a layer, or behind the last one.
  const Matrix<T>& stream(int layer) const { return streams_[layer].x; }
  std::span<const int64_t> lengths() const { return streams_.front().lengths; }
  int64_t rows() const { return streams_.front().x.rows(); }
  std::span<const int32_t> tokens() const { return tokens_; }

  // The stream behind the last layer, normed: what the head multiplies.
  Matrix<T> Normed(const ModelEnds<T>& ends) const;
  // Logits, soft cap included, of normed rows.
  Matrix<T> Logits(const ModelEnds<T>& ends, const Matrix<T>& normed) const;

  // The loss of the last Forward(), and no gradient.
  double Loss(const ModelEnds<T>& ends, LogitLoss<T>* loss) const;
  // The loss of the last Forward(), whose sources still give the same weights. Shows the visitor
  // its gradient.
  double Backward(const ModelEnds<T>& ends,
                  LayerSource<T>* source,
                  LogitLoss<T>* loss,
                  GradientVisitor<T>* visitor);

 private:
  bool Interrupted() const { return options_.interrupted && options_.interrupted(); }
  // The loss, and unless they are null the gradient by the normed rows and what the visitor sees.
  double Head(const ModelEnds<T>& ends,
              LogitLoss<T>* loss,
              GradientVisitor<T>* visitor,
              Matrix<T>* d_normed) const;

  ModelConfig config_;
  ModelGradientOptions options_;
  std::vector<DecoderLayer<T>> layers_;
  std::vector<int32_t> tokens_;
  std::vector<LayerInputsOf<T>> streams_;
  std::vector<LayerTrace<T>> traces_;  // where they are kept
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_MODEL_GRADIENT_H_

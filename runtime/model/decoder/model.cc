#include "runtime/model/decoder/model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/base/json.h"
#include "runtime/base/parallel.h"
#include "runtime/base/sha256.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

constexpr char kHeadName[] = "lm_head.weight";
constexpr char kEmbeddingName[] = "model.embed_tokens.weight";

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ","), "]");
}

std::string TensorText(const std::string& name, const ArchiveTensor& tensor) {
  return absl::StrCat(tensor.file, ": tensor ", Quoted(name), ": ");
}

// Rows [first, first + count) of a view, in the order of the file.
TensorView Rows(const TensorView& view, int64_t first, int64_t count) {
  TensorView rows = view;
  rows.data += first * view.row_bytes();
  rows.rows = count;
  rows.interleaved_rows = 0;
  return rows;
}

// Some exporters write a head beside a tied embedding; both must be equal.
absl::Status CheckHeadEqualsEmbedding(const ArchiveTensor& head, const ArchiveTensor& embedding) {
  const auto differs = [&](absl::string_view how) {
    return absl::InvalidArgumentError(
        absl::StrCat(TensorText(kHeadName, head),
                     "differs from the embedding ",
                     how,
                     ", but config.json has tie_word_embeddings true"));
  };
  if (head.shape != embedding.shape)
    return differs(absl::StrCat("in shape ", ShapeText(head.shape)));
  if (head.view.format != embedding.view.format) {
    return differs(absl::StrCat("in format ", head.view.format.Name()));
  }
  const int64_t row_bytes = head.view.row_bytes();
  for (int64_t row = 0; row < head.view.rows; ++row) {
    if (std::memcmp(head.view.data + row * row_bytes,
                    embedding.view.data + row * row_bytes,
                    row_bytes) != 0) {
      return differs(absl::StrCat("in row ", row));
    }
  }
  return absl::OkStatus();
}

void HashNumber(uint64_t value, Sha256* hash) {
  char bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
  hash->Update(absl::string_view(bytes, sizeof(bytes)));
}

void HashText(absl::string_view text, Sha256* hash) {
  HashNumber(text.size(), hash);  // so that no two sequences of texts give the same bytes
  hash->Update(text);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> Model::Load(const std::string& path, int threads) {
  std::unique_ptr<Model> model(new Model);
  BB_ASSIGN_OR_RETURN(model->checkpoint_, OpenCheckpoint(path));
  BB_RETURN_IF_ERROR(model->ReadTensors());
  BB_RETURN_IF_ERROR(model->CheckRest());
  BB_RETURN_IF_ERROR(model->ReadMagnitudes(threads));
  const Tokenizer* tokenizer = model->tokenizer();
  if (tokenizer != nullptr && tokenizer->vocab_size() > model->config().vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat(path,
                                                   ": the tokenizer's ",
                                                   tokenizer->vocab_size(),
                                                   " pieces are more than vocab_size ",
                                                   model->config().vocab_size,
                                                   " of ",
                                                   model->config_path()));
  }
  return model;
}

void Model::ReleasePages(ComponentId id) const { ReleasePages(Weight(id)); }

void Model::ReleasePages(const TensorView& view) const {
  const std::span part(view.data, static_cast<size_t>(view.bytes()));
  for (const MappedFile& file : checkpoint_.files) {
    const std::span<const std::byte> all = file.bytes();
    if (part.data() < all.data() || part.data() >= all.data() + all.size()) continue;
    return file.ReleasePages(part);
  }
}

absl::StatusOr<const ArchiveTensor*> Model::Take(const std::string& name,
                                                 const std::vector<int64_t>& shape) {
  const auto it = checkpoint_.tensors.find(name);
  if (it == checkpoint_.tensors.end()) {
    return absl::InvalidArgumentError(absl::StrCat(checkpoint_.tensors_path,
                                                   ": tensor ",
                                                   Quoted(name),
                                                   ": is missing; config.json asks for ",
                                                   ShapeText(shape)));
  }
  const ArchiveTensor& tensor = it->second;
  if (tensor.shape != shape) {
    return absl::InvalidArgumentError(absl::StrCat(TensorText(name, tensor),
                                                   "shape ",
                                                   ShapeText(tensor.shape),
                                                   ", but config.json asks for ",
                                                   ShapeText(shape)));
  }
  if (taken_.emplace(name, &tensor).second) {  // else: another part of it was taken before
    parameter_count_ += tensor.view.size();
    stored_bytes_ += tensor.view.bytes();
  }
  return &tensor;
}

absl::StatusOr<std::vector<float>> Model::TakeVector(const std::string& name,
                                                     int64_t size,
                                                     float offset) {
  BB_ASSIGN_OR_RETURN(const ArchiveTensor* tensor, Take(name, {size}));
  fixed_bytes_ += tensor->view.bytes();
  std::vector<float> values(size);
  tensor->view.ReadRow(0, values);
  for (float& value : values) value += offset;
  return values;
}

absl::StatusOr<LayerVectors> Model::TakeLayer(int layer) {
  LayerVectors vectors;
  for (const LayerVector& vector : ListLayerVectors(config(), layer)) {
    BB_ASSIGN_OR_RETURN(vectors.*vector.values,
                        TakeVector(vector.name, vector.size, vector.offset));
  }
  return vectors;
}

absl::Status Model::ReadTensors() {
  components_ = ListComponents(config());
  head_ = config().tie_word_embeddings ? 0 : static_cast<ComponentId>(components_.size()) - 1;
  for (const Component& component : components_) {
    BB_ASSIGN_OR_RETURN(const ArchiveTensor* tensor,
                        Take(component.stored_name, {component.stored_rows, component.cols}));
    const bool whole = component.rows == component.stored_rows;  // and any order of its rows
    weights_.push_back(whole ? tensor->view
                             : Rows(tensor->view, component.stored_row, component.rows));
  }
  for (int layer = 0; layer < config().num_hidden_layers; ++layer) {
    BB_ASSIGN_OR_RETURN(LayerVectors vectors, TakeLayer(layer));
    layers_.push_back(std::move(vectors));
  }
  BB_ASSIGN_OR_RETURN(
      final_norm_,
      TakeVector("model.norm.weight", config().hidden_size, config().norm_weight_offset));
  return absl::OkStatus();
}

absl::Status Model::CheckRest() const {
  for (const auto& [name, tensor] : checkpoint_.tensors) {
    if (taken_.contains(name)) continue;
    // Old exporters stored these frequencies; they follow from rope_theta.
    if (absl::EndsWith(name, ".rotary_emb.inv_freq")) continue;
    if (name == kHeadName) {
      BB_RETURN_IF_ERROR(CheckHeadEqualsEmbedding(tensor, *taken_.at(kEmbeddingName)));
      continue;
    }
    return absl::InvalidArgumentError(absl::StrCat(TensorText(name, tensor),
                                                   "shape ",
                                                   ShapeText(tensor.shape),
                                                   " has no place in the ",
                                                   config().architecture_name,
                                                   " that config.json describes"));
  }
  return absl::OkStatus();
}

absl::Status Model::ReadMagnitudes(int threads) {
  // Pieces of a few MB, so that one large tensor does not keep one thread alone.
  constexpr int64_t kPieceBytes = int64_t{4} << 20;
  struct Piece {
    const std::string* name;
    const ArchiveTensor* tensor;
    int64_t first_row;
    int64_t rows;
  };
  std::vector<Piece> pieces;
  for (const auto& [name, tensor] : taken_) {
    const int64_t row_bytes = tensor->view.row_bytes();
    const int64_t step = std::max<int64_t>(1, kPieceBytes / std::max<int64_t>(1, row_bytes));
    for (int64_t row = 0; row < tensor->view.rows; row += step) {
      pieces.push_back({&name, tensor, row, std::min(step, tensor->view.rows - row)});
    }
  }
  std::vector<float> largest(pieces.size());
  ParallelFor(threads, static_cast<int64_t>(pieces.size()), [&](int64_t i, int) {
    const Piece& piece = pieces[i];
    const TensorView rows = Rows(piece.tensor->view, piece.first_row, piece.rows);
    largest[i] = rows.LargestMagnitude();
    ReleasePages(rows);
  });
  for (size_t i = 0; i < pieces.size(); ++i) {
    float& magnitude = magnitudes_[*pieces[i].name];
    magnitude = std::max(magnitude, largest[i]);
  }
  // The first bad piece, so that the message does not depend on the number of threads.
  const auto bad = std::find_if_not(
      largest.begin(), largest.end(), [](float value) { return std::isfinite(value); });
  if (bad == largest.end()) return absl::OkStatus();

  const Piece& piece = pieces[bad - largest.begin()];
  const TensorView& view = piece.tensor->view;
  const int64_t index = Rows(view, piece.first_row, piece.rows).FirstNonFinite();
  const int64_t row = piece.first_row + index / view.cols;
  const int64_t col = index % view.cols;
  std::vector<float> values(view.cols);
  Rows(view, row, 1).ReadRow(0, values);
  return absl::InvalidArgumentError(absl::StrCat(TensorText(*piece.name, *piece.tensor),
                                                 "[",
                                                 row,
                                                 ", ",
                                                 col,
                                                 "] is ",
                                                 std::isnan(values[col]) ? "NaN"
                                                 : values[col] > 0       ? "+Inf"
                                                                         : "-Inf",
                                                 ": weights must be finite"));
}

const std::string& Model::Fingerprint() const {
  std::call_once(fingerprint_once_, [this] {
    Sha256 hash;
    HashText(checkpoint_.config_text, &hash);
    for (const auto& [name, tensor] : checkpoint_.tensors) {
      HashText(name, &hash);
      HashText(absl::AsciiStrToUpper(tensor.view.format.Name()), &hash);
      HashNumber(tensor.shape.size(), &hash);
      for (const int64_t size : tensor.shape) HashNumber(static_cast<uint64_t>(size), &hash);
      hash.Update(std::span(tensor.view.data, static_cast<size_t>(tensor.view.bytes())));
      ReleasePages(tensor.view);
    }
    fingerprint_ = hash.Finish();
  });
  return fingerprint_;
}

}  // namespace bitbudget

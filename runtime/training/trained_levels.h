#ifndef BITBUDGET_RUNTIME_TRAINING_TRAINED_LEVELS_H_
#define BITBUDGET_RUNTIME_TRAINING_TRAINED_LEVELS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/quantize/coded_rows.h"
#include "runtime/training/trained_matrix.h"

namespace bitbudget {

// Integer and block formats, dense or sparse.
class TrainedLevels final : public TrainedMatrix {
 public:
  TrainedLevels(const Matrix<float>& original, const Encoding& start, TrainedParts parts);

  std::vector<ParameterArray*> parameters() override;
  void Decode(int threads, Matrix<float>* image) const override;
  void Backward(const Matrix<float>& d_image, int threads) override;
  Encoding Encode(int threads) const override;

 private:
  // A group of a row: where its weights begin in the row, and its grid now.
  struct Group {
    int64_t begin;
    int64_t count;
    LevelGrid grid;
  };
  Group GroupOf(int64_t row, int64_t g) const;
  int64_t groups() const { return static_cast<int64_t>(rows_.front().grids.size()); }
  // Whether a position between levels is one that the grid reaches.
  bool Reaches(const LevelGrid& grid, float position) const {
    if (grid.scale == 0.0f) return false;
    if (table_low_ < table_high_) return position >= table_low_ && position <= table_high_;
    return position >= grid.low - 0.5f && position <= grid.high + 0.5f;
  }
  // Moves a latent weight into the cell of its code.
  float IntoCell(float weight, const LevelGrid& grid, int level) const;
  // The same for the weights of a row in a codebook type, unit by unit.
  void IntoPoints(const Matrix<float>& original, int64_t row);
  // The levels that weights of a group round to.
  void NearestLevels(std::span<const float> weights,
                     const LevelGrid& grid,
                     std::span<int16_t> levels) const;

  const Encoding start_;
  const FormatLevels levels_;
  const TrainedParts parts_;
  const int64_t group_;
  float table_low_ = 0, table_high_ = 0;  // the ends of a table of levels, if there is one
  std::vector<CodedRow> rows_;            // of the start
  ParameterArray weights_;                // [rows, cols]
  ParameterArray logs_;  // [rows, groups], of the growth of scales; empty: they stay
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_TRAINED_LEVELS_H_

#include "runtime/quantize/grid_descent.h"

#include <algorithm>
#include <cmath>

#include "runtime/kernels/linear.h"
#include "runtime/quantize/clipping.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {
namespace {

// Scales on either side of the present one, per sweep; the furthest of the first sweep is 30 % off,
// each sweep looks a third as far.
constexpr int kScales = 12;
constexpr double kReach = 0.3;
constexpr double kNarrower = 1.0 / 3;
// A change must pay more than rounding in float can pretend.
constexpr double kLeastGain = 1e-5;

double Dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

}  // namespace

GridDescent::GridDescent(std::span<const float> gram, int64_t size, const Format& format)
    : gram_(gram), size_(size), format_(format), group_(format.GroupSize(size)) {
  for (int64_t begin = 0; begin < size; begin += group_) {
    const int64_t count = std::min(group_, size - begin);
    std::vector<float> own;
    for (int64_t i = begin; i < begin + count; ++i) {
      const auto row = gram.subspan(i * size + begin, count);
      own.insert(own.end(), row.begin(), row.end());
    }
    panels_.push_back(PackWeightsF32(ViewOf(own, count, count)));
  }
}

void GridDescent::ListCandidates(std::span<const float> weights,
                                 int64_t group,
                                 double reach,
                                 const IntegerGrid& grid,
                                 Workspace* workspace) const {
  std::vector<IntegerGrid>& candidates = workspace->candidates;
  candidates.assign(1, grid);
  const auto add = [&](double scale, int zero) {
    const float rounded = RoundToHalf(static_cast<float>(scale));
    if (rounded != 0.0f && std::isfinite(rounded)) candidates.push_back({rounded, zero});
  };
  const int max_code = (1 << format_.bits) - 1;
  const int low_zero = format_.zero_point ? std::max(0, grid.zero - 1) : grid.zero;
  const int high_zero = format_.zero_point ? std::min(max_code, grid.zero + 1) : grid.zero;
  for (int zero = low_zero; zero <= high_zero; ++zero) {
    for (int step = -kScales; step <= kScales; ++step) {
      if (step == 0 && zero == grid.zero) continue;
      add(grid.scale * (1 + reach * step / kScales), zero);
    }
  }
  // With codes q fixed the error is least for scale = q (H_gg w - c) / (q H_gg q): with d = s q - w
  // and p = (d H)_g of all groups, s + step where step = -q.p / (q H_gg q).
  if (grid.scale == 0.0f) return;
  const int64_t begin = group * group_;
  std::vector<float> levels(weights.size());
  for (size_t j = 0; j < weights.size(); ++j) {
    levels[j] = std::nearbyint((workspace->errors[begin + j] + weights[j]) / grid.scale);
  }
  std::vector<float> product(weights.size());
  PackActivations(Path::kF32, levels.data(), levels.size(), 1, levels.size(), &workspace->packed);
  Linear(workspace->packed, panels_[group], product.data(), product.size());
  const double energy = Dot(levels, product);
  if (energy <= 0) return;
  add(grid.scale -
          Dot(levels, std::span(workspace->product).subspan(begin, weights.size())) / energy,
      grid.zero);
}

double GridDescent::Improve(std::span<const float> weights,
                            int sweeps,
                            std::span<IntegerGrid> grids,
                            Workspace* ws) const {
  const auto part = [&](auto all, int64_t g) {
    return all.subspan(g * group_, std::min(group_, size_ - g * group_));
  };
  ws->errors.resize(size_);
  ws->product.resize(size_);
  const std::span<float> errors(ws->errors);
  const std::span<float> product(ws->product);
  // product += change H, for a change of the errors of one group.
  const auto add_product = [&](int64_t g, std::span<const float> change) {
    for (size_t j = 0; j < change.size(); ++j) {
      const float c = change[j];
      if (c == 0.0f) continue;
      const float* const row = gram_.data() + (g * group_ + static_cast<int64_t>(j)) * size_;
      for (int64_t i = 0; i < size_; ++i) product[i] += c * row[i];
    }
  };
  const int64_t groups = static_cast<int64_t>(grids.size());
  const auto product_of_all = [&] {
    std::fill(product.begin(), product.end(), 0.0f);
    for (int64_t g = 0; g < groups; ++g) add_product(g, part(errors, g));
  };
  for (int64_t g = 0; g < groups; ++g) {
    RoundingErrors(part(weights, g), grids[g], format_, part(errors, g));
  }
  product_of_all();
  double reach = kReach;
  for (int sweep = 0; sweep < sweeps; ++sweep, reach *= kNarrower) {
    bool changed = false;
    for (int64_t g = 0; g < groups; ++g) {
      const std::span<const float> own = part(weights, g);
      const int64_t width = static_cast<int64_t>(own.size());
      ListCandidates(own, g, reach, grids[g], ws);
      const int64_t count = static_cast<int64_t>(ws->candidates.size());
      ws->candidate_errors.resize(count * width);
      ws->candidate_products.resize(count * width);
      const auto nth = [&](std::vector<float>& all, int64_t i) {
        return std::span(all).subspan(i * width, width);
      };
      for (int64_t i = 0; i < count; ++i) {
        RoundingErrors(own, ws->candidates[i], format_, nth(ws->candidate_errors, i));
      }
      PackActivations(Path::kF32, ws->candidate_errors.data(), width, count, width, &ws->packed);
      Linear(ws->packed, panels_[g], ws->candidate_products.data(), width);
      // The present grid is candidate 0: c_g = (d H)_g - d_g H_gg.
      const std::span<const float> all = part(product, g);
      const std::span<const float> inner = nth(ws->candidate_products, 0);
      std::vector<float> others(width);
      for (int64_t j = 0; j < width; ++j) others[j] = all[j] - inner[j];
      int64_t best = 0;
      double best_error = 0;
      double present = 0;
      for (int64_t i = 0; i < count; ++i) {
        const std::span<const float> e = nth(ws->candidate_errors, i);
        const double error = Dot(e, nth(ws->candidate_products, i)) + 2 * Dot(e, others);
        if (i == 0) present = best_error = error;
        if (error < best_error) {
          best_error = error;
          best = i;
        }
      }
      const double scale = std::abs(Dot(errors, product));
      if (best == 0 || present - best_error < kLeastGain * scale) continue;
      changed = true;
      grids[g] = ws->candidates[best];
      const std::span<float> present_errors = part(errors, g);
      const std::span<const float> best_errors = nth(ws->candidate_errors, best);
      std::vector<float> change(width);
      for (int64_t j = 0; j < width; ++j) {
        change[j] = best_errors[j] - present_errors[j];
        present_errors[j] = best_errors[j];
      }
      add_product(g, change);
    }
    if (!changed && sweep > 0) break;
  }
  // Anew, without the rounding of all the changes.
  product_of_all();
  return Dot(errors, product);
}

}  // namespace bitbudget

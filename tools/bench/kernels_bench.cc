#include <algorithm>
#include <cmath>
#include <functional>
#include <list>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/linear.h"
#include "runtime/kernels/table.h"
#include "tools/bench/bench.h"
#include "tools/bench/instruction_bound.h"
#include "tools/bench/interleave.h"
#include "tools/bench/product_check.h"

namespace bitbudget {
namespace {

// The tile of one block of rows and `count` panels from `panel` on, as Linear() calls it; `levels`
// are theirs where codes are widened.
void Tile(const PackedActivations& x,
          int64_t block,
          int rows,
          const WeightPanels& w,
          int64_t panel,
          int64_t count,
          const int16_t* levels,
          float* y) {
  const KernelTable& kernels = Kernels();
  const int64_t stride = w.padded_k * kPanelWidth;
  const int64_t scale_stride = w.flush_groups * kPanelWidth;
  const int64_t codes = block * x.padded_k * kTileRows;
  const int64_t groups = block * x.groups() * kTileRows;
  if (w.path == Path::kF32) {
    kernels.tile_f32(x.f32.data() + codes,
                     w.f32.data() + panel * stride,
                     stride,
                     w.k,
                     rows,
                     count,
                     /*accumulate=*/false,
                     y,
                     w.n);
  } else if (!x.wide) {
    kernels.tile_int8(x.i8.data() + codes,
                      x.scales.data() + groups,
                      x.sums.data() + groups,
                      CodesFrom(w, panel),
                      rows,
                      count,
                      y,
                      w.n);
  } else {
    const Int16Panels panels = {.codes = levels,
                                .code_stride = stride,
                                .scales = w.scales.data() + panel * scale_stride,
                                .scale_stride = scale_stride,
                                .inputs = w.padded_k,
                                .flush = w.flush};
    kernels.tile_i16(x.i16.data() + codes,
                     x.scales.data() + groups,
                     w.path == Path::kInt8 ? kTileRows : 0,
                     panels,
                     rows,
                     count,
                     /*accumulate=*/false,
                     y,
                     w.n);
  }
}

// All tiles, a few panels over all rows at a time.
void AllTiles(const PackedActivations& x, const WeightPanels& w, float* y) {
  const int step = x.m >= kTileRows ? Kernels().six_row_panels : kMaxTilePanels;
  AlignedBuffer<int16_t> levels;
  if (x.wide) levels.Resize(step * w.padded_k * kPanelWidth);
  for (int64_t panel = 0; panel < w.panels; panel += step) {
    const int64_t count = std::min<int64_t>(step, w.panels - panel);
    if (x.wide) {
      Kernels().unpack_codes(CodesFrom(w, panel), 0, w.padded_k, count, levels.data());
    }
    for (int64_t row = 0; row < x.m; row += kTileRows) {
      const int rows = static_cast<int>(std::min<int64_t>(kTileRows, x.m - row));
      float* const out = y + row * w.n + panel * kPanelWidth;
      Tile(x, row / kTileRows, rows, w, panel, count, levels.data(), out);
    }
  }
}

struct Entry {
  BenchCase what;
  Encoding encoding;
  WeightPanels panels;
  PackedActivations packed;
};

absl::Status RunShape(const BenchOptions& options,
                      std::list<Entry>& entries,
                      int64_t n,
                      int64_t m,
                      const BenchSink& sink) {
  const int64_t k = options.inputs;
  const std::vector<float> x = RandomValues(m * k, /*seed=*/2);
  std::vector<float> y(static_cast<size_t>(m * n));
  std::vector<std::function<void()>> contestants;
  for (Entry& entry : entries) {
    PackActivations(entry.panels.packing(), x.data(), k, m, k, &entry.packed);
    contestants.push_back([&] { AllTiles(entry.packed, entry.panels, y.data()); });
  }
  std::map<std::string, size_t> bound_at;  // chain -> contestant
  std::vector<std::optional<InstructionBound>> bounds;
  for (const Entry& entry : entries) {
    const std::optional<InstructionBound>& bound = bounds.emplace_back(BoundOf(entry.panels));
    if (!bound.has_value()) continue;
    if (bound_at.emplace(bound->chain, contestants.size()).second) {
      contestants.push_back(bound->run);
    }
  }
  const std::vector<Timing> timings = Interleave(
      contestants, {.repetitions = options.repetitions, .min_seconds = options.min_seconds});

  const double macs = static_cast<double>(m * n * k);
  size_t i = 0;
  for (const Entry& entry : entries) {
    y.assign(y.size(), NAN);
    contestants[i]();
    BB_RETURN_IF_ERROR(CheckProduct(absl::StrCat("kernels ",
                                                 PathName(entry.panels),
                                                 " ",
                                                 entry.what.format,
                                                 " m=",
                                                 m,
                                                 " n=",
                                                 n,
                                                 " k=",
                                                 k),
                                    entry.panels.packing(),
                                    entry.panels.flush,
                                    entry.encoding,
                                    x,
                                    m,
                                    y));
    BenchResult result;
    result.bench = "kernels";
    result.path = PathName(entry.panels);
    result.format = entry.what.format;
    result.m = m;
    result.n = n;
    result.k = k;
    result.gmac_per_s = macs / Median(timings[i]) / 1e9;
    result.spread = RelativeSpread(timings[i]);
    result.baseline = "itself";
    if (bounds[i].has_value()) {
      const Timing& bound = timings[bound_at.at(bounds[i]->chain)];
      result.baseline = bounds[i]->chain;
      // Both per multiply-add.
      result.ratio = SpeedRatio(timings[i], bound) * macs / bounds[i]->macs;
    }
    sink(result);
    ++i;
  }
  for (const auto& [chain, at] : bound_at) {
    BenchResult result;
    result.bench = "kernels";
    result.path = "bound";
    result.format = chain;
    const auto bound = std::find_if(bounds.begin(), bounds.end(), [&chain = chain](const auto& b) {
      return b.has_value() && b->chain == chain;
    });
    result.gmac_per_s = (*bound)->macs / Median(timings[at]) / 1e9;
    result.spread = RelativeSpread(timings[at]);
    result.baseline = "itself";
    sink(result);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunKernelsBench(const BenchOptions& options, const BenchSink& sink) {
  const std::vector<int64_t> rows =
      options.rows.empty() ? std::vector<int64_t>{1, 6, 24, 240} : options.rows;
  const std::vector<int64_t> outputs =
      options.outputs.empty() ? std::vector<int64_t>{1920} : options.outputs;
  if (!options.threads.empty() && options.threads != std::vector<int>{1}) {
    return absl::InvalidArgumentError("kernels: tiles are measured with --threads 1");
  }
  for (const int64_t n : outputs) {
    if (n % kPanelWidth != 0) {
      return absl::InvalidArgumentError(absl::StrCat("kernels: --n ",
                                                     n,
                                                     " is not a multiple of ",
                                                     kPanelWidth,
                                                     ": tiles have no part panels"));
    }
    std::list<Entry> entries;
    for (const BenchCase& what : options.cases.empty() ? DefaultCases() : options.cases) {
      BB_ASSIGN_OR_RETURN(Encoding encoding, RandomWeights(what.format, n, options.inputs));
      WeightPanels panels = PackWeightsFor(encoding, what.activations);
      entries.push_back({what, std::move(encoding), std::move(panels), {}});
    }
    for (const int64_t m : rows) BB_RETURN_IF_ERROR(RunShape(options, entries, n, m, sink));
  }
  return absl::OkStatus();
}

}  // namespace bitbudget

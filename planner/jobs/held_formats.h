#ifndef BITBUDGET_PLANNER_JOBS_HELD_FORMATS_H_
#define BITBUDGET_PLANNER_JOBS_HELD_FORMATS_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runtime/model/decoder/model.h"
#include "runtime/quantize/encoder.h"

namespace bitbudget {

// Which formats have the range that some components' weights need: their scales, or their values,
// are f16 mostly, so a weight beyond 65504 may be too large for few bits. Reads only the rows of
// such weights.
class HeldFormats {
 public:
  // `model` outlives this.
  HeldFormats(const Model& model, std::span<const int> components);

  // kInvalidArgument, naming component and format, where rounding to nearest needs a larger scale.
  absl::Status Check(const Format& format) const;

  // "NAME has weights up to 9e+05"; of the component with the largest.
  std::string Describe() const;

 private:
  struct Row {
    ComponentId id;
    std::vector<float> values;
  };

  const Model& model_;
  ComponentId largest_;
  std::vector<Row> rows_;
  std::unique_ptr<Encoder> encoder_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_HELD_FORMATS_H_

#ifndef BITBUDGET_TESTS_SUPPORT_SAFETENSORS_WRITER_H_
#define BITBUDGET_TESTS_SUPPORT_SAFETENSORS_WRITER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace bitbudget {

// A tensor as a safetensors file holds it. Nothing is checked: tests write broken files too.
struct TestTensor {
  std::string name;
  std::string dtype;  // "F32", "F16", "BF16", or anything
  std::vector<int64_t> shape;
  std::string bytes;
};

// The JSON header of a well-formed file with these tensors, in this order, without gaps.
std::string SafetensorsHeader(const std::vector<TestTensor>& tensors);

// The file with this header text and data, however wrong they are.
std::string SafetensorsFile(absl::string_view header, absl::string_view data);

// The well-formed file.
std::string SafetensorsFile(const std::vector<TestTensor>& tensors);

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_SUPPORT_SAFETENSORS_WRITER_H_

#ifndef BITBUDGET_PLANNER_RUNS_PACKING_H_
#define BITBUDGET_PLANNER_RUNS_PACKING_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace bitbudget {

// Values as bytes, for ranks of one job and for the run store: numbers as they are in memory
// (little-endian on every machine that bitbudget runs on), texts and lists behind their length.
class Packer {
 public:
  template <typename T>
  void Number(T value) {
    static_assert(std::is_arithmetic_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void Text(absl::string_view text) {
    Number<int64_t>(static_cast<int64_t>(text.size()));
    bytes_.append(text.data(), text.size());
  }
  template <typename T>
  void Numbers(const std::vector<T>& values) {
    Number<int64_t>(static_cast<int64_t>(values.size()));
    for (const T value : values) Number<T>(value);
  }

  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Reads what a Packer wrote, in the same order. Once the bytes run out everything reads as empty
// and Done() stays false. `bytes` outlives the unpacker.
class Unpacker {
 public:
  explicit Unpacker(absl::string_view bytes) : left_(bytes) {}

  template <typename T>
  T Number() {
    static_assert(std::is_arithmetic_v<T>);
    T value = 0;
    Read(&value, sizeof(T));
    return value;
  }
  std::string Text();
  template <typename T>
  std::vector<T> Numbers() {
    const int64_t size = Number<int64_t>();
    std::vector<T> values;
    if (size < 0 || static_cast<uint64_t>(size) > left_.size() / sizeof(T)) {
      Fail();
      return values;
    }
    for (int64_t i = 0; i < size; ++i) values.push_back(Number<T>());
    return values;
  }

  // Whether everything was there and nothing is left.
  bool Done() const { return !failed_ && left_.empty(); }

 private:
  void Read(void* value, size_t size);
  void Fail();

  absl::string_view left_;
  bool failed_ = false;
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_PACKING_H_

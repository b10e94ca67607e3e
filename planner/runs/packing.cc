#include "planner/runs/packing.h"

#include <cstring>

namespace bitbudget {

std::string Unpacker::Text() {
  const int64_t size = Number<int64_t>();
  if (size < 0 || static_cast<uint64_t>(size) > left_.size()) {
    Fail();
    return "";
  }
  std::string text(left_.substr(0, static_cast<size_t>(size)));
  left_.remove_prefix(static_cast<size_t>(size));
  return text;
}

void Unpacker::Read(void* value, size_t size) {
  if (left_.size() < size) return Fail();
  std::memcpy(value, left_.data(), size);
  left_.remove_prefix(size);
}

void Unpacker::Fail() {
  failed_ = true;
  left_ = {};
}

}  // namespace bitbudget

#ifndef BITBUDGET_RUNTIME_BASE_CHAR_SET_H_
#define BITBUDGET_RUNTIME_BASE_CHAR_SET_H_

#include <array>
#include <atomic>
#include <bitset>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct pcre2_real_code_8;

namespace bitbudget {

// What a part of a regular expression that stands for one character ([a-z], \p{L}, .) matches.
// PCRE2 says which characters these are; they are asked for once, 4096 at a time. Safe to use from
// many threads.
class CharSet {
 public:
  struct Options {
    bool unicode =
        false;  // characters of Unicode; else single bytes, of which only ASCII has kinds
    bool any_case = false;
    bool dot_all = false;  // . is a line feed as well
  };

  static CharSet Of(uint32_t character);
  // `part` in PCRE2's syntax; [] is nothing and [^] anything. Errors: kInvalidArgument, what PCRE2
  // says.
  static absl::StatusOr<CharSet> Compile(const std::string& part, const Options& options);

  CharSet(CharSet&&) noexcept = default;
  ~CharSet();

  bool unicode() const { return blocks_ != nullptr; }
  // REQUIRES: a byte below 0x80, or any where the characters are bytes.
  bool HasByte(unsigned char byte) const { return bytes_[byte]; }
  bool Has(uint32_t code) const {
    if (code < 0x80) return bytes_[code];
    if (unicode()) return InBlock(code);
    return code == only_ || (code < bytes_.size() && bytes_[code]);
  }
  // The bytes that its characters may begin with, and perhaps others from 0x80 on.
  std::bitset<256> FirstBytes() const;

 private:
  static constexpr uint32_t kBlock = 4096;
  static constexpr uint32_t kBlocks = 0x110000 / kBlock;
  using Block = std::bitset<kBlock>;
  struct Blocks {
    std::array<std::atomic<const Block*>, kBlocks> of = {};
    ~Blocks();
  };
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };

  CharSet() = default;
  bool InBlock(uint32_t code) const {
    const Block* block = blocks_->of[code / kBlock].load(std::memory_order_acquire);
    if (block == nullptr) block = MakeBlock(code / kBlock);
    return (*block)[code % kBlock];
  }
  const Block* MakeBlock(uint32_t index) const;

  std::array<bool, 256> bytes_ = {};
  uint32_t only_ = UINT32_MAX;                     // the one character there is
  std::unique_ptr<pcre2_real_code_8, Free> code_;  // of a run of them
  std::unique_ptr<Blocks> blocks_;  // of Unicode's characters; null where bytes_ holds all
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_CHAR_SET_H_

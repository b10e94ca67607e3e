#include "runtime/base/char_set.h"

#include <glog/logging.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace bitbudget {
namespace {

void AppendUtf8(uint32_t code, std::string* text) {
  const auto rest = [code](int shift) {
    return static_cast<char>(0x80 | ((code >> shift) & 0x3f));
  };
  if (code < 0x80) {
    *text += static_cast<char>(code);
  } else if (code < 0x800) {
    *text += {static_cast<char>(0xc0 | code >> 6), rest(0)};
  } else if (code < 0x10000) {
    *text += {static_cast<char>(0xe0 | code >> 12), rest(6), rest(0)};
  } else {
    *text += {static_cast<char>(0xf0 | code >> 18), rest(12), rest(6), rest(0)};
  }
}

// Calls visit(begin, end) for every run of characters in `text` that the code matches.
template <typename Visit>
void ForRuns(const pcre2_code* code, absl::string_view text, uint32_t flags, Visit visit) {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  CHECK(data != nullptr);
  size_t from = 0;
  while (from < text.size() && pcre2_match(code,
                                           reinterpret_cast<PCRE2_SPTR>(text.data()),
                                           text.size(),
                                           from,
                                           flags,
                                           data,
                                           nullptr) >= 0) {
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data);
    CHECK_GT(ends[1], from);
    visit(ends[0], ends[1]);
    from = ends[1];
  }
  pcre2_match_data_free(data);
}

}  // namespace

void CharSet::Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

CharSet::Blocks::~Blocks() {
  for (const auto& block : of) delete block.load(std::memory_order_relaxed);
}

CharSet::~CharSet() = default;

CharSet CharSet::Of(uint32_t character) {
  CharSet set;
  set.only_ = character;
  if (character < 0x80) set.bytes_[character] = true;
  return set;
}

absl::StatusOr<CharSet> CharSet::Compile(const std::string& part, const Options& options) {
  uint32_t flags = PCRE2_ALLOW_EMPTY_CLASS;
  if (options.unicode) flags |= PCRE2_UTF | PCRE2_UCP;
  if (options.any_case) flags |= PCRE2_CASELESS;
  if (options.dot_all) flags |= PCRE2_DOTALL;
  const std::string pattern = absl::StrCat("(?:", part, ")++");
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  CHECK(context != nullptr);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  CharSet set;
  set.code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()),
                                pattern.size(),
                                flags,
                                &error,
                                &offset,
                                context));
  pcre2_compile_context_free(context);
  if (set.code_ == nullptr) {
    PCRE2_UCHAR reason[256];
    pcre2_get_error_message(error, reason, sizeof(reason));
    return absl::InvalidArgumentError(reinterpret_cast<const char*>(reason));
  }
  std::string bytes;
  for (int byte = 0; byte < (options.unicode ? 0x80 : 0x100); ++byte) {
    bytes += static_cast<char>(byte);
  }
  ForRuns(set.code_.get(), bytes, 0, [&](size_t begin, size_t end) {
    for (; begin < end; ++begin) set.bytes_[begin] = true;
  });
  if (options.unicode) {
    set.blocks_ = std::make_unique<Blocks>();
  } else {
    set.code_.reset();
  }
  return set;
}

std::bitset<256> CharSet::FirstBytes() const {
  std::bitset<256> first;
  for (size_t byte = 0; byte < 0x100; ++byte) first[byte] = bytes_[byte];
  if (unicode() || (only_ >= 0x80 && only_ != UINT32_MAX)) {
    for (size_t byte = 0x80; byte < 256; ++byte) first.set(byte);
  }
  return first;
}

const CharSet::Block* CharSet::MakeBlock(uint32_t index) const {
  std::string text;
  std::vector<uint32_t> codes;  // of each byte's character
  for (uint32_t code = index * kBlock; code < (index + 1) * kBlock; ++code) {
    if (0xd800 <= code && code < 0xe000) continue;  // halves of pairs are no characters
    AppendUtf8(code, &text);
    codes.resize(text.size(), code);
  }
  auto made = std::make_unique<Block>();
  ForRuns(code_.get(), text, PCRE2_NO_UTF_CHECK, [&](size_t begin, size_t end) {
    for (; begin < end; ++begin) made->set(codes[begin] % kBlock);
  });
  const Block* expected = nullptr;
  if (blocks_->of[index].compare_exchange_strong(
          expected, made.get(), std::memory_order_acq_rel, std::memory_order_acquire)) {
    return made.release();
  }
  return expected;  // another thread was faster
}

}  // namespace bitbudget

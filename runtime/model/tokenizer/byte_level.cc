#include "runtime/model/tokenizer/byte_level.h"

#include <array>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace bitbudget {
namespace {

constexpr int kCharacters = 0x100 + 68;  // 68 bytes are not visible characters

// The byte of every character, or -1.
constexpr std::array<int16_t, kCharacters> MakeTable() {
  std::array<int16_t, kCharacters> table{};
  for (int16_t& byte : table) byte = -1;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool visible =
        (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xff && byte != 0xad);
    table[visible ? byte : next++] = static_cast<int16_t>(byte);
  }
  return table;
}

constexpr std::array kByteOf = MakeTable();

}  // namespace

std::optional<std::string> CharactersToBytes(absl::string_view characters) {
  std::string bytes;
  for (size_t i = 0; i < characters.size(); ++i) {
    int character = static_cast<unsigned char>(characters[i]);
    if (character >= 0x80) {
      if (i + 1 == characters.size() || (character & 0xe0) != 0xc0) return std::nullopt;
      const int second = static_cast<unsigned char>(characters[++i]);
      if ((second & 0xc0) != 0x80) return std::nullopt;
      character = (character & 0x1f) << 6 | (second & 0x3f);
    }
    if (character >= kCharacters || kByteOf[character] < 0) return std::nullopt;
    bytes += static_cast<char>(kByteOf[character]);
  }
  return bytes;
}

int ByteOfToken(absl::string_view text) {
  if (text.size() != 6 || !absl::StartsWith(text, "<0x") || text.back() != '>') return -1;
  int byte = 0;
  for (const char c : text.substr(3, 2)) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return -1;
    byte = byte * 16 + (absl::ascii_isdigit(static_cast<unsigned char>(c))
                            ? c - '0'
                            : absl::ascii_toupper(static_cast<unsigned char>(c)) - 'A' + 10);
  }
  return byte;
}

}  // namespace bitbudget

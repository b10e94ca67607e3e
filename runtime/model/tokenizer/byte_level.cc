#include "runtime/model/tokenizer/byte_level.h"

#include <array>
#include <cstdint>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace bitbudget {
namespace {

constexpr int kCharacters = 0x100 + 68;  // 68 bytes are not visible characters

struct Tables {
  std::array<uint16_t, 256> character;      // of a byte
  std::array<int16_t, kCharacters> byte{};  // of a character, or -1
};

constexpr Tables MakeTables() {
  Tables tables{};
  for (int16_t& byte : tables.byte) byte = -1;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool visible =
        (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xff && byte != 0xad);
    const int character = visible ? byte : next++;
    tables.character[byte] = static_cast<uint16_t>(character);
    tables.byte[character] = static_cast<int16_t>(byte);
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

}  // namespace

std::string BytesToCharacters(absl::string_view bytes) {
  std::string characters;
  for (const char c : bytes) {
    const uint16_t character = kTables.character[static_cast<unsigned char>(c)];
    if (character < 0x80) {
      characters += static_cast<char>(character);
    } else {  // below 0x800: two bytes of UTF-8
      characters += static_cast<char>(0xc0 | character >> 6);
      characters += static_cast<char>(0x80 | (character & 0x3f));
    }
  }
  return characters;
}

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
    if (character >= kCharacters || kTables.byte[character] < 0) return std::nullopt;
    bytes += static_cast<char>(kTables.byte[character]);
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

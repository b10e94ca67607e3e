// SHA-256 against the known answers of FIPS 180-2 (appendix B) and of the NIST example vectors.

#include "runtime/base/sha256.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <span>
#include <string>

namespace bitbudget {
namespace {

constexpr char kEmpty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr char kAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kTwoBlocks[] = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1";
constexpr char kMillionA[] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

std::string Hex(const std::string& text) { return Sha256Hex(std::as_bytes(std::span(text))); }

TEST(Sha256, GivesTheKnownAnswers) {
  EXPECT_EQ(Sha256Hex({}), kEmpty);
  EXPECT_EQ(Sha256().Finish(), kEmpty);
  EXPECT_EQ(Hex("abc"), kAbc);
  EXPECT_EQ(Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), kTwoBlocks);
  EXPECT_EQ(Hex(std::string(1000000, 'a')), kMillionA);
}

TEST(Sha256, PiecesOfAnySizeGiveTheDigestOfTheWhole) {
  for (const size_t piece : {1, 7, 63, 64, 65, 4096}) {
    const std::string text(1000000, 'a');
    Sha256 hash;
    for (size_t at = 0; at < text.size(); at += piece) {
      hash.Update(absl::string_view(text).substr(at, piece));
      hash.Update(std::span<const std::byte>());  // an empty piece changes nothing
    }
    EXPECT_EQ(hash.Finish(), kMillionA) << "pieces of " << piece;
  }
}

TEST(Sha256, TextMayHoldZeros) {
  Sha256 hash;
  hash.Update(absl::string_view("a\0b", 3));
  EXPECT_EQ(hash.Finish(), Hex(std::string("a\0b", 3)));
  EXPECT_NE(Hex(std::string("a\0b", 3)), Hex("ab"));
}

}  // namespace
}  // namespace bitbudget

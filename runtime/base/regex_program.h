#ifndef BITBUDGET_RUNTIME_BASE_REGEX_PROGRAM_H_
#define BITBUDGET_RUNTIME_BASE_REGEX_PROGRAM_H_

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/char_set.h"
#include "runtime/base/regex_syntax.h"
#include "runtime/base/utf8.h"

namespace bitbudget {

// A regular expression as instructions for a matcher that tries one way after another.
class RegexProgram {
 public:
  enum class Op : uint8_t {
    kSet,      // one character of `set`
    kRunLong,  // `least` to `most` characters of `set`, first as many as there are,
    kRunLazy,  // or as few,
    kRunAll,   // or as many and never fewer
    kTry,      // goes on behind; when that fails, at `target`
    kTryLast,  // goes on at `target`; when that fails, behind
    kJump,     // to `target`
    kMark,     // `slot` is where the text stands
    kAgain,    // to `target`, unless the text stands at `slot` still
    kAtomic,   // what follows up to kAccept once, as it first matches; then to `target`
    kLook,     // whether what follows up to kAccept matches here, or does not (`negated`)
    kAt,       // whether this is the `place`
    kAccept
  };
  struct Instruction {
    Op op;
    bool negated = false;
    RegexNode::Place place = RegexNode::Place::kTextStart;
    int set = -1;
    int least = 0;
    int most = 0;    // RegexNode::kUnbounded: any number
    int target = 0;  // of a jump; for kLook where to go on
    int first = -1;  // kTry: which of `first_bytes` the way behind it begins with; -1: any, or none
    int slot = 0;
    int back = 0;  // kLook: characters to go back
  };

  // Errors: kInvalidArgument, what is wrong.
  static absl::StatusOr<RegexProgram> Compile(absl::string_view pattern, RegexDialect dialect);

  std::vector<Instruction> code;
  std::vector<CharSet> sets;
  int word_set = -1;
  int slots = 0;
  std::vector<std::bitset<256>> first_bytes;
  int first = -1;  // of the whole
  bool unicode = false;
};

// Steps that a matcher may take: a text's share, which grows with its bytes alone.
int64_t RegexSteps(size_t text_bytes);

// Looks for a program in one text.
class RegexMatcher {
 public:
  // Both must live on. REQUIRES: well-formed UTF-8 for programs of Unicode.
  RegexMatcher(const RegexProgram& program, absl::string_view text, int64_t* steps)
      : program_(program), text_(text), steps_(*steps), slots_(program.slots) {}

  enum class Result : uint8_t { kMatch, kNoMatch, kTooManySteps, kTooMuchMemory };
  // The first match that begins at `from` or behind it.
  Result Find(size_t from);
  // The match that begins at `begin`; `whole`: and ends where the text does.
  Result MatchAt(size_t begin, bool whole);

  size_t begin() const { return begin_; }
  size_t end() const { return end_; }

 private:
  // A way that was not tried yet, or what has to be put back on the way to it.
  struct Way {
    enum class Kind : uint8_t { kGoOn, kShorter, kLonger, kSlot };
    Kind kind;
    int at;        // the instruction; for kSlot the slot
    size_t place;  // in the text
    size_t limit;  // kShorter: the shortest end; kLonger: characters that may still be taken
  };

  bool Run(int at, size_t place, bool whole);
  bool Backtrack(size_t bottom, int* at, size_t* place);
  bool Push(const Way& way);
  bool IsAt(RegexNode::Place where, size_t place) const;
  bool IsWord(size_t place) const;
  // Behind the character at `place` if the set has it, else `place`. REQUIRES: there is one.
  size_t PastOne(const CharSet& set, size_t place) const {
    const auto byte = static_cast<unsigned char>(text_[place]);
    if (byte < 0x80 || !program_.unicode) return place + (set.HasByte(byte) ? 1 : 0);
    const Character character = CharacterAt(text_.data() + place);
    return place + (set.Has(character.code) ? character.size : 0);
  }
  size_t StepBack(size_t place) const;
  bool MayBegin(int first, size_t place) const {
    return first < 0 || (place < text_.size() &&
                         program_.first_bytes[first][static_cast<unsigned char>(text_[place])]);
  }

  const RegexProgram& program_;
  const absl::string_view text_;
  int64_t& steps_;
  std::vector<size_t> slots_;
  std::vector<Way> ways_;
  size_t begin_ = 0;
  size_t end_ = 0;
  bool too_much_memory_ = false;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_REGEX_PROGRAM_H_

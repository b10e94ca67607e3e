#include <algorithm>

#include "runtime/base/regex_program.h"
#include "runtime/base/utf8.h"

namespace bitbudget {
namespace {

using Op = RegexProgram::Op;
using Place = RegexNode::Place;

// Expressions of real tokenizers take 5 to 20 steps for a byte, rules for names a few for each
// character. A step takes some nanoseconds: a megabyte is given up on in about a second.
constexpr int64_t kStepsPerByte = 100;
constexpr int64_t kStepsPerText = 10'000;

constexpr size_t kMaxWays = 1 << 22;  // 100 MB

}  // namespace

int64_t RegexSteps(size_t text_bytes) {
  return kStepsPerText + kStepsPerByte * static_cast<int64_t>(text_bytes);
}

size_t RegexMatcher::StepBack(size_t place) const {
  --place;
  if (!program_.unicode) return place;
  while (place > 0 && (static_cast<unsigned char>(text_[place]) & 0xc0) == 0x80) --place;
  return place;
}

bool RegexMatcher::IsWord(size_t place) const {
  return place < text_.size() && PastOne(program_.sets[program_.word_set], place) > place;
}

bool RegexMatcher::IsAt(Place where, size_t place) const {
  const size_t size = text_.size();
  switch (where) {
    case Place::kTextStart:
      return place == 0;
    case Place::kTextEnd:
      return place == size;
    case Place::kTextEndOrLastLineEnd:
      return place == size || (place + 1 == size && text_[place] == '\n');
    case Place::kLineStart:
      return place == 0 || (place < size && text_[place - 1] == '\n');
    case Place::kLineEnd:
      return place == size || text_[place] == '\n';
    case Place::kWordEdge:
    case Place::kNoWordEdge:
      break;
  }
  const bool before = place > 0 && IsWord(StepBack(place));
  return (before != IsWord(place)) == (where == Place::kWordEdge);
}

bool RegexMatcher::Push(const Way& way) {
  if (ways_.size() >= kMaxWays) {
    too_much_memory_ = true;
    return false;
  }
  ways_.push_back(way);
  return true;
}

// Takes the last way above `bottom` that was not tried yet; false when there is none.
bool RegexMatcher::Backtrack(size_t bottom, int* at, size_t* place) {
  while (ways_.size() > bottom) {
    Way& way = ways_.back();
    switch (way.kind) {
      case Way::Kind::kGoOn:
        *at = way.at;
        *place = way.place;
        ways_.pop_back();
        return true;
      case Way::Kind::kShorter:
        way.place = StepBack(way.place);
        *at = way.at + 1;
        *place = way.place;
        if (way.place <= way.limit) ways_.pop_back();
        return true;
      case Way::Kind::kLonger: {
        const CharSet& set = program_.sets[program_.code[way.at].set];
        const size_t past = way.place < text_.size() ? PastOne(set, way.place) : way.place;
        if (past == way.place) {
          ways_.pop_back();
          continue;
        }
        way.place = past;
        *at = way.at + 1;
        *place = past;
        if (--way.limit == 0) ways_.pop_back();
        return true;
      }
      case Way::Kind::kSlot:
        slots_[way.at] = way.place;
        ways_.pop_back();
        break;
    }
  }
  return false;
}

// Whether the program matches from `at` to its kAccept, at `place` of the text; the match ends at
// end_. False as well once the steps or the memory are used up.
bool RegexMatcher::Run(int at, size_t place, bool whole) {
  const size_t bottom = ways_.size();
  const auto number = [](int most) {
    return most == RegexNode::kUnbounded ? SIZE_MAX : static_cast<size_t>(most);
  };
  while (true) {
    if (--steps_ < 0) return false;
    const RegexProgram::Instruction& step = program_.code[at];
    bool goes_on = true;
    switch (step.op) {
      case Op::kSet: {
        const size_t past = place < text_.size() ? PastOne(program_.sets[step.set], place) : place;
        goes_on = past > place;
        place = past;
        ++at;
        break;
      }
      case Op::kRunLong:
      case Op::kRunLazy:
      case Op::kRunAll: {
        const CharSet& set = program_.sets[step.set];
        const size_t most = number(step.most);
        const auto least = static_cast<size_t>(step.least);
        const size_t wanted = step.op == Op::kRunLazy ? least : most;
        size_t shortest = place;
        size_t count = 0;
        while (count < wanted && place < text_.size()) {
          const size_t past = PastOne(set, place);
          if (past == place) break;
          place = past;
          if (++count == least) shortest = place;
        }
        steps_ -= static_cast<int64_t>(count);
        goes_on = count >= least;
        if (!goes_on) break;
        if (step.op == Op::kRunLong && place > shortest) {
          if (!Push({Way::Kind::kShorter, at, place, shortest})) return false;
        } else if (step.op == Op::kRunLazy && most > least) {
          if (!Push({Way::Kind::kLonger, at, place, most - least})) return false;
        }
        ++at;
        break;
      }
      case Op::kTry:
        // Most alternatives of an expression begin with another character.
        while (program_.code[at].op == Op::kTry && !MayBegin(program_.code[at].first, place)) {
          at = program_.code[at].target;
          --steps_;
        }
        if (program_.code[at].op != Op::kTry) break;
        if (!Push({Way::Kind::kGoOn, program_.code[at].target, place, 0})) return false;
        ++at;
        break;
      case Op::kTryLast:
        if (!Push({Way::Kind::kGoOn, at + 1, place, 0})) return false;
        at = step.target;
        break;
      case Op::kJump:
        at = step.target;
        break;
      case Op::kMark:
        if (!Push({Way::Kind::kSlot, step.slot, slots_[step.slot], 0})) return false;
        slots_[step.slot] = place;
        ++at;
        break;
      case Op::kAgain:
        at = place == slots_[step.slot] ? at + 1 : step.target;
        break;
      case Op::kAtomic:
        goes_on = Run(at + 1, place, false);
        place = end_;
        at = step.target;
        break;
      case Op::kLook: {
        size_t from = place;
        int back = step.back;
        steps_ -= back;
        for (; back > 0 && from > 0; --back) from = StepBack(from);
        goes_on = (back == 0 && Run(at + 1, from, false)) != step.negated;
        at = step.target;
        break;
      }
      case Op::kAt:
        goes_on = IsAt(step.place, place);
        ++at;
        break;
      case Op::kAccept:
        if (whole && place != text_.size()) {
          goes_on = false;
          break;
        }
        ways_.resize(bottom);
        end_ = place;
        return true;
    }
    if (steps_ < 0 || too_much_memory_) return false;
    if (!goes_on && !Backtrack(bottom, &at, &place)) return false;
  }
}

RegexMatcher::Result RegexMatcher::MatchAt(size_t begin, bool whole) {
  if (steps_ < 0) return Result::kTooManySteps;
  begin_ = begin;
  ways_.clear();
  if (Run(0, begin, whole)) return Result::kMatch;
  if (too_much_memory_) return Result::kTooMuchMemory;
  return steps_ < 0 ? Result::kTooManySteps : Result::kNoMatch;
}

RegexMatcher::Result RegexMatcher::Find(size_t from) {
  while (from <= text_.size()) {
    if (MayBegin(program_.first, from)) {
      if (const Result result = MatchAt(from, false); result != Result::kNoMatch) return result;
      from += program_.unicode && from < text_.size() ? Utf8Length(text_[from]) : 1;
    } else {
      ++from;
    }
  }
  return Result::kNoMatch;
}

}  // namespace bitbudget

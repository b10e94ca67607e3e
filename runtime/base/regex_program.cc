#include "runtime/base/regex_program.h"

#include <utility>

#include "absl/status/status.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

using Kind = RegexNode::Kind;
using Op = RegexProgram::Op;

// Repetitions of groups are written out, so a pattern may be short and its program long.
constexpr size_t kMaxInstructions = 50'000;

struct First {
  std::bitset<256> bytes;  // that a match which is not empty may begin with
  bool may_be_empty;
};

class Compiler {
 public:
  explicit Compiler(ParsedRegex parsed) : parsed_(std::move(parsed)) {}

  absl::StatusOr<RegexProgram> Compile() && {
    program_.first = AddFirst(parsed_.root);
    Emit(parsed_.root);
    Add({.op = Op::kAccept});
    if (is_full()) return absl::InvalidArgumentError("it is too large with its repetitions");
    program_.sets = std::move(parsed_.sets);
    program_.word_set = parsed_.word_set;
    return std::move(program_);
  }

 private:
  bool is_full() const { return program_.code.size() > kMaxInstructions; }
  int here() const { return static_cast<int>(program_.code.size()); }
  int Add(const RegexProgram::Instruction& instruction) {
    if (!is_full()) program_.code.push_back(instruction);
    return here() - 1;
  }
  void EndsHere(int instruction) { program_.code[instruction].target = here(); }

  First FirstOf(const RegexNode& node) const {
    switch (node.kind) {
      case Kind::kSet:
        return {parsed_.sets[node.set].FirstBytes(), false};
      case Kind::kAt:
      case Kind::kLook:
        return {{}, true};
      case Kind::kAtomic:
        return FirstOf(node.children[0]);
      case Kind::kRepeat: {
        First first = FirstOf(node.children[0]);
        first.may_be_empty |= node.least == 0;
        return first;
      }
      case Kind::kSequence: {
        First all{{}, true};
        for (const RegexNode& child : node.children) {
          const First first = FirstOf(child);
          all.bytes |= first.bytes;
          if (first.may_be_empty) continue;
          all.may_be_empty = false;
          break;
        }
        return all;
      }
      case Kind::kEither:
        break;
    }
    First any{{}, false};
    for (const RegexNode& child : node.children) {
      const First first = FirstOf(child);
      any.bytes |= first.bytes;
      any.may_be_empty |= first.may_be_empty;
    }
    return any;
  }

  int AddFirst(const RegexNode& node) {
    const First first = FirstOf(node);
    if (first.may_be_empty) return -1;
    for (size_t i = 0; i < program_.first_bytes.size(); ++i) {
      if (program_.first_bytes[i] == first.bytes) return static_cast<int>(i);
    }
    program_.first_bytes.push_back(first.bytes);
    return static_cast<int>(program_.first_bytes.size()) - 1;
  }

  void Emit(const RegexNode& node) {
    if (is_full()) return;
    switch (node.kind) {
      case Kind::kSet:
        Add({.op = Op::kSet, .set = node.set});
        return;
      case Kind::kSequence:
        for (const RegexNode& child : node.children) Emit(child);
        return;
      case Kind::kEither:
        EmitEither(node);
        return;
      case Kind::kRepeat:
        EmitRepeat(node);
        return;
      case Kind::kAtomic:
        EmitAtomic(node);
        return;
      case Kind::kLook: {
        const int look =
            Add({.op = Op::kLook, .negated = node.negated, .back = node.behind ? node.width : 0});
        Emit(node.children[0]);
        Add({.op = Op::kAccept});
        EndsHere(look);
        return;
      }
      case Kind::kAt:
        Add({.op = Op::kAt, .place = node.place});
        return;
    }
  }

  void EmitEither(const RegexNode& node) {
    std::vector<int> jumps;
    for (size_t i = 0; i + 1 < node.children.size(); ++i) {
      const int way = Add({.op = Op::kTry, .first = AddFirst(node.children[i])});
      Emit(node.children[i]);
      jumps.push_back(Add({.op = Op::kJump}));
      EndsHere(way);
    }
    Emit(node.children.back());
    for (const int jump : jumps) EndsHere(jump);
  }

  void EmitRun(const RegexNode& repeat, Op op) {
    Add({.op = op, .set = repeat.children[0].set, .least = repeat.least, .most = repeat.most});
  }

  void EmitAtomic(const RegexNode& node) {
    const RegexNode& body = node.children[0];
    if (body.kind == Kind::kRepeat && body.greed == RegexNode::Greed::kGreedy &&
        body.children[0].kind == Kind::kSet) {
      EmitRun(body, Op::kRunAll);
      return;
    }
    const int atomic = Add({.op = Op::kAtomic});
    Emit(body);
    Add({.op = Op::kAccept});
    EndsHere(atomic);
  }

  void EmitRepeat(const RegexNode& node) {
    const bool lazy = node.greed == RegexNode::Greed::kLazy;
    const RegexNode& body = node.children[0];
    if (body.kind == Kind::kSet) {
      EmitRun(node, lazy ? Op::kRunLazy : Op::kRunLong);
      return;
    }
    for (int i = 0; i < node.least && !is_full(); ++i) Emit(body);
    const First first = FirstOf(body);
    const RegexProgram::Instruction way = {
        .op = lazy ? Op::kTryLast : Op::kTry,
        .first = lazy || first.may_be_empty ? -1 : AddFirst(body)};
    if (node.most == RegexNode::kUnbounded) {
      const int loop = Add(way);
      const int slot = program_.slots;
      if (first.may_be_empty) {
        ++program_.slots;
        Add({.op = Op::kMark, .slot = slot});
      }
      Emit(body);
      if (first.may_be_empty) {
        Add({.op = Op::kAgain, .target = loop, .slot = slot});
      } else {
        Add({.op = Op::kJump, .target = loop});
      }
      EndsHere(loop);
      return;
    }
    std::vector<int> ways;
    for (int i = node.least; i < node.most && !is_full(); ++i) {
      ways.push_back(Add(way));
      Emit(body);
    }
    for (const int one : ways) EndsHere(one);
  }

  ParsedRegex parsed_;
  RegexProgram program_;
};

}  // namespace

absl::StatusOr<RegexProgram> RegexProgram::Compile(absl::string_view pattern,
                                                   RegexDialect dialect) {
  BB_ASSIGN_OR_RETURN(ParsedRegex parsed, ParseRegex(pattern, dialect));
  BB_ASSIGN_OR_RETURN(RegexProgram program, Compiler(std::move(parsed)).Compile());
  program.unicode = dialect == RegexDialect::kTokenizer;
  return program;
}

}  // namespace bitbudget

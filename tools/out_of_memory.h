#ifndef BITBUDGET_TOOLS_OUT_OF_MEMORY_H_
#define BITBUDGET_TOOLS_OUT_OF_MEMORY_H_

namespace bitbudget {

// Ends the process with one line and kExitBadInput. What it was writing has no name yet, or a
// temporary one that its next start removes.
[[noreturn]] void EndOutOfMemory();

// Ends the process in that way as soon as `new` has no memory, without an exception: none may pass
// through parallel loops and threads, and not all libraries stand one. What throws std::bad_alloc
// by itself, as Eigen, may do so anywhere too.
void InstallOutOfMemoryHandler();

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_OUT_OF_MEMORY_H_

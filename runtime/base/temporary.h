#ifndef BITBUDGET_RUNTIME_BASE_TEMPORARY_H_
#define BITBUDGET_RUNTIME_BASE_TEMPORARY_H_

#include <string>

namespace bitbudget {

// What is being written lies beside its own path, under a temporary name, until it is whole. A lock
// lasts as long as the process that writes, so that the next one can tell what a killed one left.

// Temporary name number `attempt` for a path: "PATH.tmp.<process>.<attempt>".
std::string TemporaryName(const std::string& path, int attempt);

// Locks a file or folder that was just created under a temporary name, until `fd` is closed. False
// where another process has taken it for a left-over: it is gone.
bool LockTemporary(int fd);

// Removes the files and folders under temporary names of `path` that no process is writing. Where
// the file system has no locks, nothing.
void RemoveLeftOvers(const std::string& path);

// Syncs the folder that `path` lies in: a rename to it survives a crash only once that is on disk.
// A file system that cannot sync folders is no error, as what was renamed is in place.
void SyncFolderOf(const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_TEMPORARY_H_

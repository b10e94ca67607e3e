#ifndef BITBUDGET_TOOLS_BUS_ERROR_H_
#define BITBUDGET_TOOLS_BUS_ERROR_H_

namespace bitbudget {

// From now on a mapped file that loses pages while it is read (somebody cut it short, or its disk
// failed) ends the process with one line that names it and exit code 3, not with SIGBUS.
void InstallBusErrorHandler();

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_BUS_ERROR_H_

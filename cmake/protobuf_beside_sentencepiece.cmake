# Debian's libsentencepiece.so has protobuf 3.14 built in and exports its symbols, so in a process
# that also loads libprotobuf.so one of the two runs the other's code and crashes. Two ways keep them
# apart; the interface targets bitbudget_protobuf and bitbudget_sentencepiece choose.
#
# Programs link protobuf statically, with its symbols (of the archive, and of inline functions in
# whoever includes its headers) hidden from the dynamic linker; and as SentencePiece's copy must not
# satisfy our references either, the archive has to stand before it on every link line, which the
# (otherwise untrue) dependency says. tests/model/protobuf_beside_sentencepiece_test fails when any of
# this is lost.
#
# The archive cannot stand in a shared library (its code for thread-local variables is a program's).
# One with the property BITBUDGET_PLUGS_SENTENCEPIECE links libprotobuf.so and not SentencePiece, which
# it loads as a plugin that sees its own symbols first (tools/api/plugged_sentencepiece.cc).
find_library(BITBUDGET_PROTOBUF_ARCHIVE libprotobuf.a REQUIRED)
mark_as_advanced(BITBUDGET_PROTOBUF_ARCHIVE)
set(plugs "$<BOOL:$<TARGET_PROPERTY:BITBUDGET_PLUGS_SENTENCEPIECE>>")

add_library(bitbudget_sentencepiece INTERFACE)
target_link_libraries(bitbudget_sentencepiece INTERFACE "$<$<NOT:${plugs}>:PkgConfig::SentencePiece>")

add_library(bitbudget_protobuf_archive STATIC IMPORTED GLOBAL)
set_target_properties(bitbudget_protobuf_archive PROPERTIES
  IMPORTED_LOCATION ${BITBUDGET_PROTOBUF_ARCHIVE}
  INTERFACE_LINK_LIBRARIES "PkgConfig::SentencePiece;Threads::Threads"
  INTERFACE_LINK_OPTIONS LINKER:--exclude-libs,libprotobuf.a)
add_library(bitbudget_protobuf INTERFACE)
target_link_libraries(bitbudget_protobuf INTERFACE
  "$<IF:${plugs},protobuf::libprotobuf,bitbudget_protobuf_archive>")

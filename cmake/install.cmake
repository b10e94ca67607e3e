# `cmake --install` puts the command, its manual page and shell completions into place; `cpack` makes a
# Debian package of them. Page and completions come from the command that was built.
include(GNUInstallDirs)

install(TARGETS bitbudget RUNTIME)
set(generated ${PROJECT_BINARY_DIR}/install)
install(CODE "
  function(bitbudget_print file)
    execute_process(COMMAND $<TARGET_FILE:bitbudget> \${ARGN}
      OUTPUT_FILE ${generated}/\${file} COMMAND_ERROR_IS_FATAL ANY)
  endfunction()
  file(MAKE_DIRECTORY ${generated})
  bitbudget_print(bitbudget.1 manual)
  bitbudget_print(bitbudget completion bash)
  bitbudget_print(_bitbudget completion zsh)
")
install(FILES ${generated}/bitbudget.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${generated}/bitbudget DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${generated}/_bitbudget DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME bitbudget)
set(CPACK_PACKAGE_CONTACT "The bitbudget authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "fits a language model into a memory budget")
set(CPACK_PACKAGE_DESCRIPTION
  "Decides which bit width, block format or sparsity every weight matrix of a language model gets,\nproves the decision by running it, and writes a plan that llama.cpp and other quantizers execute.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
include(CPack)

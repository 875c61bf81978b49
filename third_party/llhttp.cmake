# SPDX-License-Identifier: MIT
#
# llhttp::llhttp: the system's library where there is one (Debian 13's libllhttp-dev), else built from
# the sources that Debian 12's node-llhttp installs, with our hardening but not our warnings.
pkg_check_modules(llhttp IMPORTED_TARGET libllhttp)
if(llhttp_FOUND)
  add_library(llhttp::llhttp ALIAS PkgConfig::llhttp)
else()
  find_path(LLHTTP_SOURCE_DIR llhttp.c PATHS /usr/share/llhttp NO_DEFAULT_PATH)
  find_path(LLHTTP_INCLUDE_DIR llhttp.h PATHS /usr/share/include/llhttp)
  if(NOT LLHTTP_SOURCE_DIR OR NOT LLHTTP_INCLUDE_DIR)
    message(FATAL_ERROR "llhttp not found: run `third_party/install build`")
  endif()
  add_library(llhttp STATIC ${LLHTTP_SOURCE_DIR}/api.c ${LLHTTP_SOURCE_DIR}/http.c
                            ${LLHTTP_SOURCE_DIR}/llhttp.c)
  target_include_directories(llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDE_DIR})
  add_library(llhttp::llhttp ALIAS llhttp)
endif()

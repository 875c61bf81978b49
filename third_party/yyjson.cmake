# SPDX-License-Identifier: MIT
#
# yyjson::yyjson: the system's library where there is one (Debian 13's libyyjson-dev), else built from the
# sources that third_party/install takes out of the Python package that wraps it, with our hardening but
# not our warnings.
pkg_check_modules(yyjson IMPORTED_TARGET yyjson>=0.10)
if(yyjson_FOUND)
  add_library(yyjson::yyjson ALIAS PkgConfig::yyjson)
else()
  set(YYJSON_DIR ${PROJECT_SOURCE_DIR}/build/yyjson)
  if(NOT EXISTS ${YYJSON_DIR}/yyjson.c)
    message(FATAL_ERROR "yyjson not found: run `third_party/install build`")
  endif()
  add_library(yyjson STATIC ${YYJSON_DIR}/yyjson.c)
  target_include_directories(yyjson SYSTEM PUBLIC ${YYJSON_DIR})
  target_compile_options(yyjson PRIVATE -O2)
  add_library(yyjson::yyjson ALIAS yyjson)
endif()

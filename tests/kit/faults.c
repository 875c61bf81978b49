// SPDX-License-Identifier: MIT
#include "kit/faults.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <uv.h>

/* libcurl.h makes macros of these, to check types. */
#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt

static struct {
    _Atomic int n; /* the one that fails */
    _Atomic int count;
    _Atomic(const char *) met;
} families[FAULTS_FAMILIES];
static _Atomic bool is_one_thread;
static _Atomic pthread_t one_thread;

void faults_arm(enum faults_family family, int n) {
    families[family].n = n;
    families[family].count = 0;
    families[family].met = NULL;
}

void faults_only_on(const pthread_t *thread) {
    one_thread = thread != NULL ? *thread : 0;
    is_one_thread = thread != NULL;
}

int faults_count(enum faults_family family) {
    return families[family].count;
}

const char *faults_met(enum faults_family family) {
    return families[family].met;
}

static bool fails(enum faults_family family, const char *name) {
    if (is_one_thread && !pthread_equal(one_thread, pthread_self())) {
        return false;
    }
    int count = atomic_fetch_add(&families[family].count, 1) + 1;
    if (count != families[family].n) {
        return false;
    }
    families[family].met = name;
    return true;
}

/* FAULT(family, what it returns when it fails, its type, its name, (parameters), (arguments)) */
#define FAULT(family, failure, type, name, parameters, arguments)                                  \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters {                                                                \
        return fails(family, #name) ? (failure) : __real_##name arguments;                         \
    }

FAULT(FAULTS_UV, (errno = EMFILE, -1), int, accept4,
      (int fd, struct sockaddr *address, socklen_t *length, int flags),
      (fd, address, length, flags))
FAULT(FAULTS_UV, UV_EMFILE, int, uv_async_init,
      (uv_loop_t * loop, uv_async_t *async, uv_async_cb cb), (loop, async, cb))
FAULT(FAULTS_UV, UV_EBADF, int, uv_fileno, (const uv_handle_t *handle, uv_os_fd_t *fd),
      (handle, fd))
FAULT(FAULTS_UV, UV_ENOMEM, int, uv_getaddrinfo,
      (uv_loop_t * loop, uv_getaddrinfo_t *request, uv_getaddrinfo_cb cb, const char *node,
       const char *service, const struct addrinfo *hints),
      (loop, request, cb, node, service, hints))
FAULT(FAULTS_UV, UV_EMFILE, int, uv_loop_init, (uv_loop_t * loop), (loop))
FAULT(FAULTS_UV, UV_EEXIST, int, uv_pipe_open, (uv_pipe_t * pipe, uv_file file), (pipe, file))
FAULT(FAULTS_UV, UV_ENOMEM, int, uv_poll_init, (uv_loop_t * loop, uv_poll_t *poll, int fd),
      (loop, poll, fd))
FAULT(FAULTS_UV, UV_ENOMEM, int, uv_poll_init_socket,
      (uv_loop_t * loop, uv_poll_t *poll, uv_os_sock_t socket), (loop, poll, socket))
FAULT(FAULTS_UV, UV_EEXIST, int, uv_poll_start, (uv_poll_t * poll, int events, uv_poll_cb cb),
      (poll, events, cb))
FAULT(FAULTS_UV, UV_EINVAL, int, uv_queue_work,
      (uv_loop_t * loop, uv_work_t *work, uv_work_cb run, uv_after_work_cb done),
      (loop, work, run, done))
FAULT(FAULTS_UV, UV_ENOTCONN, int, uv_read_start,
      (uv_stream_t * stream, uv_alloc_cb alloc, uv_read_cb read), (stream, alloc, read))
FAULT(FAULTS_UV, UV_EMFILE, int, uv_signal_init, (uv_loop_t * loop, uv_signal_t *handle),
      (loop, handle))
FAULT(FAULTS_UV, UV_EINVAL, int, uv_signal_start,
      (uv_signal_t * handle, uv_signal_cb cb, int number), (handle, cb, number))
FAULT(FAULTS_UV, UV_EINVAL, int, uv_tcp_close_reset, (uv_tcp_t * tcp, uv_close_cb cb), (tcp, cb))
FAULT(FAULTS_UV, UV_EEXIST, int, uv_tcp_open, (uv_tcp_t * tcp, uv_os_sock_t socket), (tcp, socket))
FAULT(FAULTS_UV, UV_ECONNRESET, int, uv_try_write,
      (uv_stream_t * stream, const uv_buf_t bufs[], unsigned n), (stream, bufs, n))

/* One that fails has begun with the handle, which is to be closed. */
int __real_uv_spawn(uv_loop_t *loop, uv_process_t *process, const uv_process_options_t *options);
int __wrap_uv_spawn(uv_loop_t *loop, uv_process_t *process, const uv_process_options_t *options);
int __wrap_uv_spawn(uv_loop_t *loop, uv_process_t *process, const uv_process_options_t *options) {
    uv_process_options_t changed = *options;
    if (fails(FAULTS_UV, "uv_spawn")) {
        changed.file = "/nowhere";
    }
    return __real_uv_spawn(loop, process, &changed);
}

FAULT(FAULTS_REDIS, NULL, redisAsyncContext *, redisAsyncConnect, (const char *ip, int port),
      (ip, port))
FAULT(FAULTS_REDIS, REDIS_ERR, int, redisAsyncFormattedCommand,
      (redisAsyncContext * context, redisCallbackFn *answered, void *about, const char *command,
       size_t length),
      (context, answered, about, command, length))

FAULT(FAULTS_CURL, NULL, CURL *, curl_easy_init, (void), ())
FAULT(FAULTS_CURL, CURLE_FAILED_INIT, CURLcode, curl_global_init, (long flags), (flags))
FAULT(FAULTS_CURL, CURLM_OUT_OF_MEMORY, CURLMcode, curl_multi_add_handle,
      (CURLM * multi, CURL *easy), (multi, easy))
FAULT(FAULTS_CURL, CURLM_OUT_OF_MEMORY, CURLMcode, curl_multi_assign,
      (CURLM * multi, curl_socket_t socket, void *assigned), (multi, socket, assigned))
FAULT(FAULTS_CURL, NULL, CURLM *, curl_multi_init, (void), ())
FAULT(FAULTS_CURL, CURLM_OUT_OF_MEMORY, CURLMcode, curl_multi_perform,
      (CURLM * multi, int *running), (multi, running))
FAULT(FAULTS_CURL, CURLM_OUT_OF_MEMORY, CURLMcode, curl_multi_poll,
      (CURLM * multi, struct curl_waitfd extra[], unsigned n, int wait_ms, int *ready),
      (multi, extra, n, wait_ms, ready))
FAULT(FAULTS_CURL, CURLM_INTERNAL_ERROR, CURLMcode, curl_multi_remove_handle,
      (CURLM * multi, CURL *easy), (multi, easy))
FAULT(FAULTS_CURL, CURLM_OUT_OF_MEMORY, CURLMcode, curl_multi_socket_action,
      (CURLM * multi, curl_socket_t socket, int events, int *running),
      (multi, socket, events, running))
FAULT(FAULTS_CURL, NULL, CURLU *, curl_url, (void), ())
FAULT(FAULTS_CURL, CURLUE_OUT_OF_MEMORY, CURLUcode, curl_url_get,
      (const CURLU *url, CURLUPart part, char **text, unsigned flags), (url, part, text, flags))
FAULT(FAULTS_CURL, CURLUE_OUT_OF_MEMORY, CURLUcode, curl_url_set,
      (CURLU * url, CURLUPart part, const char *text, unsigned flags), (url, part, text, flags))

/* The one argument after the option is a long, a pointer or a curl_off_t, all of the same size and
 * passed the same way where Debian runs a server of 64 bits. */
static_assert(sizeof(long) == sizeof(void *) && sizeof(curl_off_t) == sizeof(void *),
              "the variadic calls are passed on as pointers");

#define FAULT_OPTION(failure, type, name, object, option_type)                                     \
    type __real_##name(object *at, option_type option, ...);                                       \
    type __wrap_##name(object *at, option_type option, ...);                                       \
    type __wrap_##name(object *at, option_type option, ...) {                                      \
        va_list rest;                                                                              \
        va_start(rest, option);                                                                    \
        void *argument = va_arg(rest, void *);                                                     \
        va_end(rest);                                                                              \
        return fails(FAULTS_CURL, #name) ? (failure) : __real_##name(at, option, argument);        \
    }

FAULT_OPTION(CURLE_OUT_OF_MEMORY, CURLcode, curl_easy_setopt, CURL, CURLoption)
FAULT_OPTION(CURLE_BAD_FUNCTION_ARGUMENT, CURLcode, curl_easy_getinfo, CURL, CURLINFO)
FAULT_OPTION(CURLM_UNKNOWN_OPTION, CURLMcode, curl_multi_setopt, CURLM, CURLMoption)

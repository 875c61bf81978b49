# SPDX-License-Identifier: MIT
#
# The calls that kit/faults.c stands in front of: the same list as its table, or it does not link.
# --wrap sends what our own objects call; what a library calls inside itself is not touched.
set(faults
    accept4
    uv_async_init uv_fileno uv_loop_init uv_pipe_open uv_poll_init uv_poll_init_socket uv_poll_start
    uv_queue_work uv_read_start uv_signal_init uv_signal_start uv_spawn uv_tcp_close_reset uv_tcp_open
    uv_try_write
    uv_getaddrinfo
    redisAsyncConnect redisAsyncFormattedCommand
    curl_easy_getinfo curl_easy_init curl_easy_setopt curl_global_init curl_multi_add_handle
    curl_multi_assign curl_multi_init curl_multi_perform curl_multi_poll curl_multi_remove_handle
    curl_multi_setopt curl_multi_socket_action curl_url curl_url_get curl_url_set)
foreach(name IN LISTS faults)
  target_link_options(kit INTERFACE -Wl,--wrap=${name})
endforeach()
# The linker meets the kit before it meets who calls.
target_link_options(kit INTERFACE -Wl,--undefined=faults_arm)

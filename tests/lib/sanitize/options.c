/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Default options of the sanitizers (sanitizer/common_interface_defs.h). They are compiled in because podman
 * does not pass environment variables to the monitor. Reports go to files, because a monitor in the
 * background has /dev/null as stderr. */

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *
__asan_default_options(void)
{
        return "detect_leaks=1:detect_stack_use_after_return=1:log_path=" SANITIZER_LOG;
}

const char *
__ubsan_default_options(void)
{
        return "print_stacktrace=1:halt_on_error=1:log_path=" SANITIZER_LOG;
}

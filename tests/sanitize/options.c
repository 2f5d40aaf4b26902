/* What the sanitizers ask a program for when it starts (sanitizer/common_interface_defs.h). Part of the
 * programs, and no variables: the environment of a monitor is its caller's, and podman passes nothing on.
 * Reports go to files, because a monitor's stderr is /dev/null as soon as it is in the background. */

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

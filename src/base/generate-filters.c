/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Compiles the filters of sandbox.h with libseccomp, when the program is built and on the machine that builds
 * it: prints a C header for the processor named in argv[1] (libseccomp's name) whose byte order is argv[2]
 * (little or big). A call that the processor does not have is left out. */

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

static const char *processor;
static bool big_endian;

/* What libc needs in every process: memory, locks, clocks, exit. */
static const char *const basic[] = {"brk",
                                    "clock_gettime",
                                    "clock_gettime64",
                                    "close",
                                    "exit",
                                    "exit_group",
                                    "futex",
                                    "futex_time64",
                                    "getpid",
                                    "getrandom",
                                    "gettid",
                                    "gettimeofday",
                                    "madvise",
                                    "mremap",
                                    "munmap",
                                    "poll",
                                    "ppoll",
                                    "ppoll_time64",
                                    "read",
                                    "restart_syscall",
                                    "rt_sigaction",
                                    "rt_sigprocmask",
                                    "rt_sigreturn",
                                    "sigreturn",
                                    "write",
                                    NULL};

static const char *const compressor[] = {"_llseek", "fdatasync", "lseek", NULL};

static const char *const client[] = {"recv",    "recvfrom", "recvmsg",  "send",       "sendmmsg",
                                     "sendmsg", "sendto",   "shutdown", "socketcall", NULL};

static const char *const logger_end[] = {"clock_nanosleep", "clock_nanosleep_time64", "kill", "nanosleep",
                                         NULL};

static const char *const resolver[] = {
        "_llseek",         "_newselect",      "access",      "alarm",      "bind",
        "clock_getres",    "clock_nanosleep", "connect",     "dup",        "epoll_create1",
        "epoll_ctl",       "epoll_pwait",     "epoll_wait",  "eventfd2",   "faccessat",
        "faccessat2",      "fcntl",           "fcntl64",     "fstat",      "fstat64",
        "fstatat64",       "fstatfs",         "fstatfs64",   "getcwd",     "getdents",
        "getdents64",      "getegid",         "getegid32",   "geteuid",    "geteuid32",
        "getgid",          "getgid32",        "getpeername", "getrlimit",  "getsockname",
        "getsockopt",      "getuid",          "getuid32",    "ioctl",      "lseek",
        "lstat",           "lstat64",         "mmap",        "mmap2",      "mprotect",
        "nanosleep",       "newfstatat",      "pread64",     "pselect6",   "pselect6_time64",
        "readlink",        "readlinkat",      "readv",       "recv",       "recvfrom",
        "recvmmsg",        "recvmmsg_time64", "recvmsg",     "rseq",       "sched_getaffinity",
        "sched_yield",     "select",          "send",        "sendmmsg",   "sendmsg",
        "sendto",          "set_robust_list", "setitimer",   "setsockopt", "shutdown",
        "socket",          "socketcall",      "stat",        "stat64",     "statfs",
        "statfs64",        "statx",           "sysinfo",     "time",       "timerfd_create",
        "timerfd_settime", "ugetrlimit",      "uname",       "writev",     NULL};

static void
check(int r, const char *what)
{
        if (r >= 0)
                return;
        fprintf(stderr, "generate-filters: %s for %s: %s\n", what, processor, strerror(-r));
        exit(1);
}

static void
allow_all(scmp_filter_ctx ctx, const char *const names[])
{
        for (; *names; names++)
                check(seccomp_rule_add(ctx, SCMP_ACT_ALLOW, seccomp_syscall_resolve_name(*names), 0), *names);
}

/* Allows a call if the bits of `mask` in an argument have this value. */
static void
allow_if(scmp_filter_ctx ctx, const char *name, unsigned arg, uint64_t mask, uint64_t value)
{
        struct scmp_arg_cmp cmp = SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, mask, value);
        check(seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, seccomp_syscall_resolve_name(name), 1, &cmp), name);
}

static scmp_filter_ctx
start(uint32_t otherwise)
{
        scmp_filter_ctx ctx = seccomp_init(otherwise);
        uint32_t arch = seccomp_arch_resolve_name(processor);
        if (!ctx || !arch)
                check(-EINVAL, "creating the filter");
        if (arch != seccomp_arch_native()) {
                /* In this order: a filter can't contain processors of different byte orders. */
                check(seccomp_arch_remove(ctx, SCMP_ARCH_NATIVE), "seccomp_arch_remove");
                check(seccomp_arch_add(ctx, arch), "seccomp_arch_add");
        }
        allow_all(ctx, basic);
        return ctx;
}

/* Allows memory that is not executable. On s390x the arguments of mmap(2) are in memory, where a filter can't
 * check them. */
static void
allow_data(scmp_filter_ctx ctx)
{
        if (strcmp(processor, "s390x") == 0)
                check(seccomp_rule_add(ctx, SCMP_ACT_ALLOW, seccomp_syscall_resolve_name("mmap"), 0), "mmap");
        else
                allow_if(ctx, "mmap", 2, PROT_EXEC, 0);
        allow_if(ctx, "mmap2", 2, PROT_EXEC, 0);
        allow_if(ctx, "mprotect", 2, PROT_EXEC, 0);
}

static unsigned
number(const unsigned char *bytes, int n)
{
        unsigned value = 0;
        for (int i = 0; i < n; i++)
                value |= (unsigned)bytes[i] << 8 * (big_endian ? n - 1 - i : i);
        return value;
}

/* libseccomp writes struct sock_filter in the byte order of the target. */
static void
print(scmp_filter_ctx ctx, const char *name)
{
        unsigned char one[8];
        FILE *file = tmpfile();
        if (!file)
                check(-errno, "tmpfile");
        check(seccomp_export_bpf(ctx, fileno(file)), "seccomp_export_bpf");
        rewind(file);
        printf("\nstatic const struct sock_filter filter_%s[] = {\n", name);
        while (fread(one, sizeof one, 1, file) == 1)
                printf("        {%#x, %u, %u, %#x},\n", number(one, 2), one[2], one[3], number(one + 4, 4));
        printf("};\n");
        (void)fclose(file);
        seccomp_release(ctx);
}

static void
print_small(const char *name, const char *const calls[])
{
        scmp_filter_ctx ctx = start(SCMP_ACT_KILL_PROCESS);
        allow_data(ctx);
        allow_all(ctx, calls);
        print(ctx, name);
}

/* Modules of the name service may need other calls: these fail with an error, and the next module is tried.
 * Modules may start threads. clone3(2) fails, because a filter can't check its flags, and libc falls back to
 * clone(2). */
static void
print_resolver(void)
{
        scmp_filter_ctx ctx = start(SCMP_ACT_ERRNO(EPERM));
        allow_all(ctx, resolver);
        allow_if(ctx, "open", 1, 3 /* O_ACCMODE */, 0 /* O_RDONLY */);
        allow_if(ctx, "openat", 2, 3, 0);
        allow_if(ctx, "prlimit64", 2, UINT64_MAX, 0);
        allow_if(ctx, "prctl", 0, UINT64_MAX, PR_SET_SECCOMP); /* to enter a narrower filter */
        allow_if(ctx, "clone", strcmp(processor, "s390x") == 0, CLONE_THREAD, CLONE_THREAD);
        check(seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), seccomp_syscall_resolve_name("clone3"), 0),
              "clone3");
        print(ctx, "resolver");
}

int
main(int argc, char **argv)
{
        if (argc != 3)
                return 1;
        processor = argv[1];
        big_endian = strcmp(argv[2], "big") == 0;
        printf("/* Generated by generate-filters for %s. */\n\n#include <linux/filter.h>\n", processor);
        print_small("compressor", compressor);
        print_small("client", client);
        print_small("logger_end", logger_end);
        print_resolver();
        return 0;
}

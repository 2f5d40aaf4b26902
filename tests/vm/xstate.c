/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Loaded into user-mode Linux (LD_PRELOAD), for processors with more registers than it has room for: AMX has
 * 8 KiB. It reads and writes the registers of its processes as a register set (NT_X86_XSTATE, ptrace(2)),
 * which the host's kernel accepts only in full size. This reads and writes the rest, which programs in the
 * guest don't use: they would have to ask for it (arch_prctl(2), ARCH_REQ_XCOMP_PERM). */

#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The set begins with 512 bytes of FXSAVE, and a mask of the components that are not in their initial state.
 * The first ten end with PKRU; AMX comes after them. */
#define MASK_AT   512
#define BASIC_SET UINT64_C(0x3ff)

static char whole[65536] __attribute__((aligned(64)));

static long
set_registers(long request, long pid, long set, struct iovec *part)
{
        struct iovec all = {whole, sizeof whole};
        if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, set, &all) < 0)
                return -1;
        if (all.iov_len <= part->iov_len)
                return syscall(SYS_ptrace, request, pid, set, part);
        if (request == PTRACE_GETREGSET) {
                memcpy(part->iov_base, whole, part->iov_len);
                return 0;
        }
        uint64_t mask;
        memcpy(whole, part->iov_base, part->iov_len);
        memcpy(&mask, whole + MASK_AT, sizeof mask);
        mask &= BASIC_SET;
        memcpy(whole + MASK_AT, &mask, sizeof mask);
        return syscall(SYS_ptrace, request, pid, set, &all);
}

long
ptrace(enum __ptrace_request request, ...)
{
        va_list list;
        va_start(list, request);
        long pid = va_arg(list, int), address = va_arg(list, long), data = va_arg(list, long);
        va_end(list);
        if ((request == PTRACE_GETREGSET || request == PTRACE_SETREGSET) && address == NT_X86_XSTATE)
                return set_registers(request, pid, address, (struct iovec *)data);
        /* As the C library's function, it returns what the kernel stores. */
        long word = 0;
        bool peeks = request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER;
        long r = syscall(SYS_ptrace, request, pid, address, peeks ? (long)&word : data);
        if (r < 0 || !peeks)
                return r;
        errno = 0;
        return word;
}

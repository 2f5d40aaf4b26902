#pragma once

/* What a process may do beyond what its user may: capabilities(7), and what else it can give up.
 *
 * Lowering leaves the permitted set as it is. That is no weakness: whoever takes over a process of
 * root's gets all of the bounding set by executing any program, and the programs that callers expect to
 * run with it forbid to lower that. And it must be so: a process with few permitted capabilities may be
 * traced (ptrace(2)) by every process of the same user that has these few, such as a container that
 * sees the host's processes. */

#include <linux/capability.h>
#include <stdint.h>

/* Sets of capabilities are bits. */
#define RIGHT(capability) (UINT64_C(1) << (capability))

/* Of the capabilities that the process has, only those in `keep` have effect from now on: the kernel refuses
 * what needs another one. Programs that it executes get all of them, as ever. Failure changes nothing. */
void rights_lower(uint64_t keep);

/* Gives all of them effect again. */
void rights_raise(void);

/* From now on nothing that the process executes can get rights that it does not
 * have (PR_SET_NO_NEW_PRIVS). */
void rights_seal(void);

/* For a child of the monitor. It loses all capabilities but `keep` for good, also for programs that it
 * executes, can't get new ones, and leaves no core dump: it may hold a copy of the monitor's memory,
 * or the container's output. */
void rights_give_up(uint64_t keep);

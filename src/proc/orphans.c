#include "proc/orphans.h"

#include "base/diag.h"
#include "base/fd.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Generations of processes that are looked for. */
#define ROUNDS_MAX 16

/* How long one may take to end; the kernel may be busy on its behalf. */
#define END_TRIES     100
#define END_TRY_USEC  (5 * 1000)

#define LIST_MAX 65536

/* Returns false if the process is not one to be killed. A child can't have ended unseen: its pid is
 * its own until it is reaped. */
static bool
kill_one(pid_t pid)
{
        if (getsid(pid) == getsid(0) || kill(pid, SIGKILL) < 0)
                return false;
        diag_warn("Process %d, which the failed runtime left behind, is killed", pid);
        for (int i = 0; i < END_TRIES; i++) {
                if (waitpid(pid, NULL, WNOHANG) != 0)
                        return true;
                g_usleep(END_TRY_USEC);
        }
        return false;
}

void
orphans_kill(void)
{
        bool killed = true;
        for (int i = 0; killed && i < ROUNDS_MAX; i++) {
                g_autofree char *list = NULL;
                if (fd_read_file("/proc/thread-self/children", LIST_MAX, &list, NULL) < 0)
                        return;
                killed = false;
                for (char *at = list, *end = NULL;; at = end) {
                        long pid = strtol(at, &end, 10);
                        if (end == at)
                                break;
                        killed |= kill_one((pid_t)pid);
                }
        }
}

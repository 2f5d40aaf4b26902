#pragma once

/* The program that the caller wants to be run when all is over (podman: `podman container cleanup …`). */

#include "proc/oom_score.h"

#include <signal.h>

typedef struct ExitCommand {
        const char *path; /* executed without a search in $PATH */
        char **args;      /* may be NULL */
        int delay;        /* seconds to wait before */
        const sigset_t *mask;
        const OomScore *score;
} ExitCommand;

/* Waits for the delay, runs the program and waits for it and for every other child of this process. The
 * monitor's signals must be blocked (signals_block); one that would end the container ends the delay. How the
 * program ended is told if it did not end well. */
void exit_command_run(const ExitCommand *command);

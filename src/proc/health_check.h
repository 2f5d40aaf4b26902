/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Podman's health checks where podman has no timers: it uses those of systemd. This is only the timer. It
 * runs `podman healthcheck run`, with the global options of the exit command, and podman itself is
 * responsible for the check, the start period, the retries, the log, the events and the action on failure.
 *
 * A second after the container's start podman is queried for the interval and the timeout (`podman container
 * inspect`). The first check follows immediately, and each next one an interval after the previous one has
 * finished, as with podman's timers, so that checks never overlap. Checks and queries are suspended while the
 * container is paused. If a check exceeds its timeout by 5 s, its process in the container is killed, so that
 * podman can record it, and another 5 s later podman.
 */

#include "base/state.h"
#include "proc/oom_score.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/* Borrowed for the life of the HealthCheck. */
typedef struct HealthCheckConfig {
        const char *path; /* of the exit command, which names the program and its options */
        char **args;
        const char *cid;
        pid_t container; /* its first process */
        const sigset_t *mask;
        const OomScore *score;
} HealthCheckConfig;

typedef struct HealthCheck HealthCheck;

/* Returns NULL if the exit command isn't podman's. */
HealthCheck *health_check_new(const HealthCheckConfig *config);

/* A child has exited, with this status of waitpid(2). Returns true if it was started here. NULL is
 * allowed. */
bool health_check_on_child_end(HealthCheck *h, pid_t pid, int status);

/* What was running is no longer a child of this process, and is forgotten. NULL is allowed. */
void health_check_lose_child(HealthCheck *h);

/* Live upgrade; a running podman remains a child. The group "health" is entered before restoring; the
 * config is as before. */
void health_check_save(const HealthCheck *h, StateWriter *w);
HealthCheck *health_check_restore(StateReader *r, const HealthCheckConfig *config);

/* Terminates a running podman, without waiting for it. NULL is allowed. */
void health_check_free(HealthCheck *h);

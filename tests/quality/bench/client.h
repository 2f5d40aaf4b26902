/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Attach clients, each in a separate process so that they don't count in the measurement. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct ClientResult {
        uint64_t bytes; /* read by all clients together */
        uint64_t wrong; /* packets with wrong bytes or of another stream */
} ClientResult;

typedef struct Clients {
        pid_t pid;
        int fd; /* the result is read from here */
} Clients;

/* Connects `count` clients that read as fast as they can; returns when all are connected. They expect lines
 * of `line` bytes. Ends the program on failure. */
void clients_start(Clients *c, const char *path, size_t count, size_t line);

/* Connects one client that never reads. */
void clients_start_stalled(Clients *c, const char *path);

/* Waits until all clients have read the end of the connection. */
void clients_finish(Clients *c, ClientResult *ret);

/* Kills clients that would not exit by themselves. */
void clients_kill(Clients *c);

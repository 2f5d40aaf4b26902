#pragma once

/* Attach clients, each run in a process of its own so that they cost the measured side nothing. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct ClientResult {
        uint64_t bytes; /* taken by all clients together */
        uint64_t wrong; /* packets with other bytes than were due, or of another stream */
} ClientResult;

typedef struct Clients {
        pid_t pid;
        int fd; /* the result comes from here */
} Clients;

/* Connects `count` clients that read as fast as they can; returns when all are connected. They expect lines
 * of `line` bytes. Ends the program on failure. */
void clients_start(Clients *c, const char *path, size_t count, size_t line);

/* Connects one client that never reads. */
void clients_start_deaf(Clients *c, const char *path);

/* Waits until all have seen the end of the connection. */
void clients_finish(Clients *c, ClientResult *ret);

/* Ends clients that would not end by themselves. */
void clients_kill(Clients *c);

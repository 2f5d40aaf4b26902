/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The container's stdin, which clients write to: a pipe, or the master side of a pseudo terminal. */

#include "base/watch.h"
#include "io/quiet_buffer.h"

#include <stdbool.h>
#include <stddef.h>

/* Called when container_stdin_wants turns true or false. */
typedef void (*StdinWantsFunc)(bool wants, void *data);

typedef enum {
        /* opened later: until then clients are not read, and the kernel holds what they send */
        STDIN_EXPECTED,
        STDIN_OPEN,
        STDIN_GONE, /* there is none, or the container has closed it: input is discarded */
} StdinState;

/* Embedded in its owner; container_stdin_init comes first, container_stdin_done last. */
typedef struct ContainerStdin {
        StdinState state;
        int fd;
        Watch watch;
        Timer retry; /* instead of `watch`, while no process has the terminal open */
        QuietBuffer buffer; /* still to be written */
        char last;          /* the byte that was written last */
        bool close_when_written;
        StdinWantsFunc on_wants;
        void *data;
} ContainerStdin;

/* The initial state is STDIN_GONE. */
void container_stdin_init(ContainerStdin *s, StdinWantsFunc on_wants, void *data);
void container_stdin_expect(ContainerStdin *s);

/* Takes ownership of the descriptor and makes it non-blocking. */
void container_stdin_open(ContainerStdin *s, int fd);

/* True if a packet may be read from a client now. */
bool container_stdin_wants(const ContainerStdin *s);

/* Reads one packet from the socket and writes it; what the container does not take yet is buffered. Call it
 * only while container_stdin_wants is true. Returns what recv(2) returned, or -errno. */
ssize_t container_stdin_receive(ContainerStdin *s, int sock);

/* If stdin is a terminal in line mode (ICANON, termios(3)), types its end-of-file character, twice if a line
 * has begun, so that the reader sees the end. Call it only while container_stdin_wants is true. */
void container_stdin_type_eof(ContainerStdin *s);

/* Closes the container's stdin as soon as the buffer is written. */
void container_stdin_close(ContainerStdin *s);

/* Live upgrade. container_stdin_init comes before restoring; on_wants is not called. */
void container_stdin_save(const ContainerStdin *s, StateWriter *w);
void container_stdin_restore(ContainerStdin *s, StateReader *r);

/* Closes and frees; buffered input is lost. */
void container_stdin_done(ContainerStdin *s);

#pragma once

/* What clients type, on its way to the container's stdin: a pipe, or the master side of a pseudo terminal. */

#include "base/page_buffer.h"
#include "base/watch.h"

#include <stdbool.h>
#include <stddef.h>

/* Called when container_stdin_wants turns true or false. */
typedef void (*StdinWantsFunc)(bool wants, void *data);

typedef enum {
        /* will be there later: clients are not read until then, the kernel keeps what they send */
        STDIN_EXPECTED,
        STDIN_OPEN,
        STDIN_GONE, /* there is none, or the container has closed it: what clients send is thrown away */
} StdinState;

/* Embedded in its owner; container_stdin_init comes first, container_stdin_done last. */
typedef struct ContainerStdin {
        StdinState state;
        int fd;
        Watch watch;
        PageBuffer buffer;
        size_t at, fill; /* what is still to be written: buffer.data[at … fill) */
        bool close_when_written;
        StdinWantsFunc on_wants;
        void *data;
} ContainerStdin;

/* The state is STDIN_GONE until something else is said. */
void container_stdin_init(ContainerStdin *s, StdinWantsFunc on_wants, void *data);
void container_stdin_expect(ContainerStdin *s);

/* Takes the descriptor, which becomes non-blocking. */
void container_stdin_open(ContainerStdin *s, int fd);

/* True if a packet may be read from a client now. */
bool container_stdin_wants(const ContainerStdin *s);

/* Reads one packet from the socket and passes it on, or keeps what the container doesn't take yet. To be
 * called only while container_stdin_wants. Returns what recv(2) returned, or -errno. */
ssize_t container_stdin_receive(ContainerStdin *s, int sock);

/* Closes the container's stdin as soon as what was received is written. */
void container_stdin_close(ContainerStdin *s);

/* Closes and frees; what is not written yet is lost. */
void container_stdin_done(ContainerStdin *s);

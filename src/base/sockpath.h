/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Unix socket addresses for paths of any length. sun_path holds 107 characters; a longer path is reached
 * through /proc/self/fd/N/NAME, where N is the opened directory (unix(7), proc(5)). */

#include <sys/socket.h>
#include <sys/un.h>

/* An address and the directory descriptor that it needs while it is used. */
typedef struct SockPath {
        struct sockaddr_un addr;
        socklen_t len;
        int dirfd; /* -1 if the address does not need it */
} SockPath;

/* Fills in the address for `path`. A path that begins with '@' is an abstract address. Returns 0 or
 * -errno (ENAMETOOLONG: the last part alone is too long). Finish with sockpath_done after bind(2),
 * connect(2) or the last sendto(2). */
int sockpath_init(SockPath *sp, const char *path);
void sockpath_done(SockPath *sp);

/* Checks whether a process has a socket of any type bound to the path: 0 or -errno. It is not affected. */
int sockpath_probe(const char *path);

/* PREFIX.XXXXXX with six random hexadecimal digits; the caller frees it. */
char *sockpath_random_name(const char *prefix);

/* Creates a socket of this type, close-on-exec and non-blocking, binds it with mode 0700, listens, and only
 * then renames it to `path`, replacing an existing file: a client that waits for the file is never refused.
 * An abstract address is bound directly. Returns the socket or -errno. */
int sockpath_listen(int type, const char *path, int backlog);

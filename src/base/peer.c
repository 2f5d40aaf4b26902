/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/peer.h"

#include "base/rights.h"

#include <glib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static bool
shares_namespace(pid_t pid, const char *kind)
{
        char own[64], other[64];
        struct stat a, b;
        (void)g_snprintf(own, sizeof own, "/proc/self/ns/%s", kind);
        (void)g_snprintf(other, sizeof other, "/proc/%d/ns/%s", pid, kind);
        return stat(own, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool
peer_is_alike(int sock)
{
        struct ucred peer;
        socklen_t len = sizeof peer;
        if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid <= 0 ||
            peer.uid != geteuid())
                return false;
        /* querying the namespaces of a process requires all its capabilities (ptrace(2)) */
        uint64_t before = rights_raise();
        bool alike = shares_namespace(peer.pid, "user") && shares_namespace(peer.pid, "mnt") &&
                     shares_namespace(peer.pid, "pid");
        rights_lower(before);
        return alike;
}

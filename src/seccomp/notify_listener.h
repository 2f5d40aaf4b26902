/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Lets plugins answer system calls of a container (seccomp_unotify(2)).
 *
 * The runtime connects to a socket, named as `linux.seccomp.listenerPath` in the container's configuration or
 * as crun's receiver, and passes the notify descriptor with a "container process state" (OCI runtime
 * specification, config-linux.md). Each process that enters the container may bring one of its own. A plugin
 * runs within the monitor: while it works on a request, the monitor does nothing else. */

#include <glib.h>

typedef struct SeccompListener SeccompListener;

/* Strings are borrowed for the call; what may be NULL says so. */
typedef struct SeccompConfig {
        const char *socket_path;
        const char *plugins; /* paths separated by colons; NULL: $CONMON_SECCOMP_NOTIFY_PLUGINS */
        const char *name;    /* of the container; may be NULL */
        const char *bundle;  /* may be NULL */
} SeccompConfig;

/* Loads the plugins and listens (mode 0700, in place of a socket that is left from before). Returns NULL and
 * sets *error if there is no plugin, if one cannot be used, if the kernel lacks the interface or the socket
 * cannot be made, and always in a build without seccomp. */
SeccompListener *seccomp_listener_new(const SeccompConfig *config, GError **error);

/* The path of the socket, freed with g_free. From now on the caller has to remove it. */
char *seccomp_listener_steal_path(SeccompListener *l);

/* Removes the socket, unloads the plugins, frees. The kernel lets calls that wait for an answer fail with
 * ENOSYS. NULL is fine. */
void seccomp_listener_free(SeccompListener *l);

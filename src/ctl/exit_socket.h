/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Passes exit commands of exec sessions to the container's monitor, so that a session's monitor need not stay
 * until its command is due. The container's monitor listens on a socket (SOCK_SEQPACKET) named `exec-exits`
 * in the bundle of the container.
 *
 *     session's monitor                             container's monitor
 *     checks who listens                            checks who connects, see base/peer.h
 *     "1", CID, DELAY_MS, and the words             accepts them if it can
 *     of the command, each with a NUL       -->
 *     ends                                  <--     "1"
 *
 * A closed connection without an answer is a refusal. The container's monitor owns the command once its
 * answer has been sent, and not before: a session's monitor that stops waiting shuts down its end, so that an
 * answer can't be sent any more, and then checks a last time whether there is one.
 *
 * The socket is created on demand: a container without such sessions has none. The session's monitor requests
 * it with the message CTL_LISTEN_FOR_EXITS on `ctl`, which other versions ignore. */

#include "base/state.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

/* Maximum size of a command's words, which are its arguments and its environment. */
#define EXIT_WORDS_MAX (48 * 1024)

typedef struct ExitSocketEvents {
        /* True if the words, which end with a NUL, are a command that can be accepted. */
        bool (*accepts)(const char *words, size_t len, void *data);
        /* Accepts these words: the session's monitor will not run the command. */
        void (*take)(const char *words, size_t len, gint64 due_usec, void *data);
        void *data;
} ExitSocketEvents;

typedef struct ExitSocket ExitSocket;

/* Listens in the bundle of the container `cid`. Returns NULL after a failure, which it reports. */
ExitSocket *exit_socket_new(const char *bundle, const char *cid, const ExitSocketEvents *events);

/* For a copy of the process that listened: from now on it is the one that sessions find listening. */
void exit_socket_claim(const ExitSocket *s);

/* Returns the path, which the caller unlinks and frees; NULL in later calls. */
char *exit_socket_steal_path(ExitSocket *s);

/* Live upgrade, including connections. The caller enters the group "socket" before restoring. */
void exit_socket_save(const ExitSocket *s, StateWriter *w);
ExitSocket *exit_socket_restore(StateReader *r, const ExitSocketEvents *events);

/* Closes the socket: sessions without an answer keep their commands. NULL is allowed. */
void exit_socket_free(ExitSocket *s);

/* In the monitor of a session, whose bundle is a directory in the container's: passes on a command that is
 * due at this time (g_get_monotonic_time). Waits for the container's monitor until then, but at most some
 * seconds. Returns false if the caller still has to run the command; this is not reported, because there may
 * be no such monitor. */
bool exit_socket_hand_over(const char *session_bundle, const char *cid, const char *words, size_t len,
                           gint64 due_usec);

/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The handshake of the forward protocol, version 1
 * (https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1): the server sends HELO, the
 * client answers PING, the server ends with PONG; both prove that they know the shared key. */

#include "base/state.h"
#include "log/drivers/fluentd/msgpack.h"
#include "log/api/secret.h"

#include <glib.h>

#define FORWARD_SALT_LEN 16

typedef struct ForwardAuth {
        char *shared_key; /* NULL: there is no handshake */
        char *hostname;   /* the name of this client */
        char *username;   /* may be NULL, then also the password */
        char *password;
        unsigned char salt[FORWARD_SALT_LEN]; /* of this connection */
        char *nonce;                          /* the server's */
        size_t nonce_len;
        char *refusal; /* what the server says in a PONG that refuses; NULL: nothing */
} ForwardAuth;

typedef struct ForwardAuthOptions {
        SecretOptions shared_key;
        SecretOptions password;
        const char *self_hostname;
        const char *username;
} ForwardAuthOptions;

/* The options that forward_auth_init reads; `member` of the struct `type` is a ForwardAuthOptions. */
#define FORWARD_AUTH_OPTIONS(type, member)                                                                   \
        SECRET_OPTIONS("fluentd-shared-key", type, member.shared_key, "the shared key of the server"),       \
                {"fluentd-self-hostname", {VALUE_TEXT}, offsetof(type, member.self_hostname), "",            \
                 "the client's name in the handshake; not set: the host name"},                              \
                {"fluentd-username", {VALUE_TEXT}, offsetof(type, member.username), "",                      \
                 "user name, for servers that require one"},                                                 \
                SECRET_OPTIONS("fluentd-password", type, member.password, "the user's password")

/* Checks the combination of options. */
gboolean forward_auth_check_options(const ForwardAuthOptions *o, GError **error);

/* The options have been checked. `errands`: see secret_read. */
gboolean forward_auth_init(ForwardAuth *a, const ForwardAuthOptions *o, Errands *errands, GError **error);
void forward_auth_done(ForwardAuth *a);

/* Live upgrade, including the secrets. Restoring starts with all zero. */
void forward_auth_save(const ForwardAuth *a, StateWriter *w);
void forward_auth_restore(ForwardAuth *a, StateReader *r);

/* True if the message is a HELO: the server requires a shared key. */
bool forward_auth_is_asked_for(MsgpackReader r);

/* Parses a HELO from the reader. Returns 0 and the answer (freed by the caller), -EAGAIN if it is
 * incomplete, or -EBADMSG. */
int forward_auth_answer(ForwardAuth *a, MsgpackReader *r, GString **ret_ping);

/* Parses a PONG. Returns 0, -EAGAIN, -EBADMSG, or -EACCES if one of the two does not trust the other. Sets
 * `refusal`. */
int forward_auth_check(ForwardAuth *a, MsgpackReader *r);

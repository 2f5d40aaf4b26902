#pragma once

/* The handshake of the forward protocol, version 1
 * (https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1): the server says HELO, the
 * client answers PING, the server ends with PONG; both prove that they know the shared key. */

#include "log/msgpack.h"
#include "log/option.h"

#include <glib.h>

#define FORWARD_SALT_LEN 16

typedef struct ForwardAuth {
        char *shared_key; /* NULL: there is no handshake */
        char *hostname;   /* what this client calls itself */
        char *username;   /* may be NULL, then also the password */
        char *password;
        unsigned char salt[FORWARD_SALT_LEN]; /* of this connection */
        char *nonce;                          /* the server's */
        size_t nonce_len;
} ForwardAuth;

/* The options that forward_auth_init reads; ends with a name of NULL. */
#define FORWARD_AUTH_OPTIONS                                                                            \
        {"fluentd-shared-key-file", LOG_OPTION_STRING, NULL, "file with the shared key of the server"}, \
        {"fluentd-shared-key-env", LOG_OPTION_STRING, NULL,                                             \
         "environment variable with the shared key of the server"},                                     \
        {"fluentd-self-hostname", LOG_OPTION_STRING, NULL,                                              \
         "own name in the handshake; not set: the host's"},                                             \
        {"fluentd-username", LOG_OPTION_STRING, NULL, "user, for servers that ask for one"},            \
        {"fluentd-password-file", LOG_OPTION_STRING, NULL, "file with the user's password"},            \
        {"fluentd-password-env", LOG_OPTION_STRING, NULL, "environment variable with the user's password"}

/* Whether they go together. */
gboolean forward_auth_check_options(const LogOptions *o, GError **error);

/* Takes options that were checked. */
gboolean forward_auth_init(ForwardAuth *a, const LogOptions *o, GError **error);
void forward_auth_done(ForwardAuth *a);

/* Takes a HELO from the reader. Returns 0 and the answer (freed by the caller), -EAGAIN if it isn't
 * all there yet, or -EBADMSG. */
int forward_auth_answer(ForwardAuth *a, MsgpackReader *r, GString **ret_ping);

/* Takes a PONG. Returns 0, -EAGAIN, -EBADMSG, or -EACCES if one of the two does not trust the other. */
int forward_auth_check(ForwardAuth *a, MsgpackReader *r);

/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/drivers/fluentd/forward_auth.h"

#include "base/error.h"
#include "log/api/secret.h"
#include "log/net/http_answer.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define DIGEST_LEN 128 /* SHA-512 in hexadecimal digits */

gboolean
forward_auth_check_options(const ForwardAuthOptions *o, GError **error)
{
        if ((o->username != NULL) != secret_is_given(&o->password))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver fluentd: option fluentd-username and fluentd-password-file or "
                                 "fluentd-password-env must be given together");
        if (o->username && !secret_is_given(&o->shared_key))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver fluentd: option fluentd-username needs fluentd-shared-key-file "
                                 "or fluentd-shared-key-env");
        return TRUE;
}

gboolean
forward_auth_init(ForwardAuth *a, const ForwardAuthOptions *o, Errands *errands, GError **error)
{
        char own[256] = "";
        (void)gethostname(own, sizeof own - 1);
        a->hostname = g_strdup(o->self_hostname ? o->self_hostname : own);
        a->username = g_strdup(o->username);
        return secret_read("fluentd", "fluentd-shared-key", &o->shared_key, errands, &a->shared_key, error) &&
               secret_read("fluentd", "fluentd-password", &o->password, errands, &a->password, error);
}

void
forward_auth_done(ForwardAuth *a)
{
        secret_free(a->shared_key);
        secret_free(a->password);
        g_free(a->hostname);
        g_free(a->username);
        g_free(a->nonce);
        g_free(a->refusal);
}

/* SHA-512 of four pieces. */
static char *
digest(const void *salt, size_t salt_len, const char *name, size_t name_len, const void *nonce,
       size_t nonce_len, const char *key)
{
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA512);
        g_checksum_update(sum, salt, (gssize)salt_len);
        g_checksum_update(sum, (const guchar *)name, (gssize)name_len);
        g_checksum_update(sum, nonce, (gssize)nonce_len);
        g_checksum_update(sum, (const guchar *)key, -1);
        return g_strdup(g_checksum_get_string(sum));
}

static bool
is_text(const MsgpackValue *v, const char *text)
{
        return v->type == MSGPACK_STR && v->len == strlen(text) && memcmp(v->text, text, v->len) == 0;
}

/* The head of ["WORD", ...]. */
static int
take_word(MsgpackReader *r, const char *word, uint32_t members)
{
        MsgpackValue v;
        int e = msgpack_read(r, &v);
        if (e < 0)
                return e;
        if (v.type != MSGPACK_ARRAY || v.n < members)
                return -EBADMSG;
        e = msgpack_read(r, &v);
        return e == 0 && !is_text(&v, word) ? -EBADMSG : e;
}

bool
forward_auth_is_asked_for(MsgpackReader r)
{
        return take_word(&r, "HELO", 2) == 0;
}

/* {"nonce": ..., "auth": ..., ...} */
static int
take_options(MsgpackReader *r, MsgpackValue *nonce, MsgpackValue *auth)
{
        MsgpackValue v, key;
        int e = msgpack_read(r, &v);
        if (e == 0 && v.type != MSGPACK_MAP)
                return -EBADMSG;
        for (uint32_t i = 0; e == 0 && i < v.n; i++) {
                e = msgpack_read(r, &key);
                MsgpackValue *wanted = e == 0 && is_text(&key, "nonce")  ? nonce
                                       : e == 0 && is_text(&key, "auth") ? auth
                                                                         : NULL;
                if (e == 0)
                        e = wanted ? msgpack_read(r, wanted) : msgpack_skip(r);
        }
        return e;
}

static void
append_str(GString *out, const void *text, size_t len)
{
        char head[MSGPACK_HEAD_MAX];
        g_string_append_len(out, head, msgpack_put_str_head(head, len) - head);
        g_string_append_len(out, text, (gssize)len);
}

static void
append_text(GString *out, const char *text)
{
        append_str(out, text, strlen(text));
}

static GString *
make_ping(ForwardAuth *a, const MsgpackValue *auth)
{
        char head[MSGPACK_HEAD_MAX];
        bool user = auth->len > 0 && a->username;
        g_autofree char *key = digest(a->salt, sizeof a->salt, a->hostname, strlen(a->hostname), a->nonce,
                                      a->nonce_len, a->shared_key);
        g_autofree char *password =
                user ? digest(auth->text, auth->len, a->username, strlen(a->username), "", 0, a->password)
                     : g_strdup("");
        GString *ping = g_string_new(NULL);
        g_string_append_len(ping, head, msgpack_put_array(head, 6) - head);
        append_text(ping, "PING");
        append_text(ping, a->hostname);
        g_string_append_len(ping, head, msgpack_put_bin_head(head, sizeof a->salt) - head);
        g_string_append_len(ping, (const char *)a->salt, sizeof a->salt);
        append_text(ping, key);
        append_text(ping, user ? a->username : "");
        append_text(ping, password);
        return ping;
}

int
forward_auth_answer(ForwardAuth *a, MsgpackReader *r, GString **ret_ping)
{
        MsgpackReader copy = *r;
        MsgpackValue nonce = {.type = MSGPACK_OTHER}, auth = {.type = MSGPACK_OTHER};
        int e = take_word(&copy, "HELO", 2);
        if (e == 0)
                e = take_options(&copy, &nonce, &auth);
        if (e < 0)
                return e;
        if (nonce.type != MSGPACK_STR)
                return -EBADMSG;
        if (getrandom(a->salt, sizeof a->salt, 0) != (ssize_t)sizeof a->salt)
                return -EIO;
        g_free(a->nonce);
        a->nonce = g_strndup("", nonce.len);
        memcpy(a->nonce, nonce.text, nonce.len);
        a->nonce_len = nonce.len;
        *ret_ping = make_ping(a, &auth);
        *r = copy;
        return 0;
}

/* ["PONG", bool, reason, hostname, digest] */
int
forward_auth_check(ForwardAuth *a, MsgpackReader *r)
{
        MsgpackReader copy = *r;
        MsgpackValue good, reason, host, proof;
        int e = take_word(&copy, "PONG", 5);
        MsgpackValue *values[] = {&good, &reason, &host, &proof};
        for (size_t i = 0; e == 0 && i < G_N_ELEMENTS(values); i++)
                e = msgpack_read(&copy, values[i]);
        if (e != 0)
                return e;
        g_free(a->refusal);
        bool explains = good.type != MSGPACK_TRUE && reason.type == MSGPACK_STR && reason.len > 0;
        a->refusal = explains ? http_printable(reason.text, reason.len) : NULL;
        if (good.type != MSGPACK_TRUE)
                return -EACCES;
        if (host.type != MSGPACK_STR || proof.type != MSGPACK_STR)
                return -EBADMSG;
        g_autofree char *expected =
                digest(a->salt, sizeof a->salt, host.text, host.len, a->nonce, a->nonce_len, a->shared_key);
        if (proof.len != DIGEST_LEN || memcmp(proof.text, expected, DIGEST_LEN) != 0)
                return -EACCES;
        *r = copy;
        return 0;
}

void
forward_auth_save(const ForwardAuth *a, StateWriter *w)
{
        state_begin(w, "authentication");
        state_put_text(w, "shared-key", a->shared_key);
        state_put_text(w, "password", a->password);
        state_put_text(w, "hostname", a->hostname);
        state_put_text(w, "username", a->username);
        state_put_bytes(w, "salt", a->salt, sizeof a->salt);
        state_put_bytes(w, "nonce", a->nonce ? a->nonce : "", a->nonce ? a->nonce_len : 0);
        state_end(w);
}

void
forward_auth_restore(ForwardAuth *a, StateReader *r)
{
        size_t len = 0;
        state_enter(r, "authentication");
        a->shared_key = state_get_text(r, "shared-key");
        a->password = state_get_text(r, "password");
        a->hostname = state_get_text(r, "hostname");
        a->username = state_get_text(r, "username");
        const char *salt = state_get_bytes(r, "salt", &len);
        if (len == sizeof a->salt)
                memcpy(a->salt, salt, len);
        else
                state_fail(r, "'salt' has %zu bytes", len);
        const char *nonce = state_get_bytes(r, "nonce", &a->nonce_len);
        a->nonce = g_strndup("", a->nonce_len);
        memcpy(a->nonce, nonce, a->nonce_len);
        state_leave(r);
        if (!a->hostname || (a->username && !a->password))
                state_fail(r, "What the server wants to know is not complete");
        if (a->shared_key)
                secret_protect();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/tls.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/process.h"
#include "base/rights.h"
#include "build-config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* conmon-tls has a limit for each step; this one is for a host with many addresses, or a program that does
 * not respect its limits. */
#define ANSWER_SECONDS 180

/* The environment variable with the path of conmon-tls, if it is not installed where the build expects it. */
#define PROGRAM_VARIABLE "CONMON_TLS"

/* Records of kernel TLS (RFC 8446, 4 and 5.1; linux/tls.h, for older versions of libc). */
enum {
        LEVEL_TLS = 282,
        SET_RECORD_TYPE = 1, /* type of the control message with the type of a record to be sent, */
        GET_RECORD_TYPE = 2, /* and of one that was received */
        RECORD_ALERT = 21,
        RECORD_HANDSHAKE = 22,
        RECORD_DATA = 23,
        HANDSHAKE_KEY_UPDATE = 24,
        ALERT_WARNING = 1,
        ALERT_CLOSE_NOTIFY = 0,
};

/* ---- options ---- */

static const char *
program(void)
{
        const char *path = g_getenv(PROGRAM_VARIABLE);
        return path && *path ? path : CONMON_TLS_PROGRAM;
}

gboolean
log_tls_check(const char *driver, const char *address, const char *scheme, const LogTlsOptions *o,
              GError **error)
{
        bool encrypted = address && g_str_has_prefix(address, scheme);
        if (!encrypted && (o->ca_cert || o->cert || o->key || o->skip_verify))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: TLS options are given, but TLS is used only for addresses "
                                 "that begin with %s",
                                 driver, scheme);
        if (!o->cert != !o->key)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: a client certificate and its key must be given together; "
                                 "there is only the %s",
                                 driver, o->cert ? "certificate" : "key");
        if (encrypted && !*program())
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: '%s' needs TLS, which this conmon was built without", driver,
                                 address);
        return TRUE;
}

gboolean
log_tls_open(const char *driver, const LogTlsOptions *o, GError **error)
{
        if (access(program(), X_OK) < 0)
                return error_set_errno(error, errno,
                                       "Log driver %s: TLS needs the package conmon-tls: %s can't be "
                                       "executed", driver, program());
        if (o->skip_verify)
                diag_warn("Log driver %s: TLS without verification: the identity of the server is unknown",
                          driver);
        return TRUE;
}

/* ---- the request ---- */

static GString *
compose_request(const LogTls *t, const char *host, uint16_t port)
{
        g_autofree char *number = g_strdup_printf("%u", port);
        const char *const fields[][2] = {
                {"protocol", TLS_HELPER_PROTOCOL},
                {"host", host},
                {"port", number},
                {"ca", t->options.ca_cert},
                {"cert", t->options.cert},
                {"key", t->options.key},
                {"verify", t->options.skip_verify ? "no" : NULL},
                {"addresses", *t->addresses ? t->addresses : NULL},
        };
        GString *text = g_string_new(NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
                if (!fields[i][1])
                        continue;
                g_string_append_printf(text, "%s=%s", fields[i][0], fields[i][1]);
                g_string_append_c(text, '\0');
        }
        g_string_append_c(text, '\0');
        return text;
}

/* Runs in a forked child, so that the monitor does not wait for the disk, as it would with vfork(2). */
static int
execute(const void *arg)
{
        const char *path = arg;
        char *const argv[] = {(char *)path, NULL};
        (void)execv(path, argv);
        TlsAnswer answer = {.mode = TLS_FAILED, .error = (uint32_t)errno};
        (void)snprintf(answer.reason, sizeof answer.reason, "%.800s can't be executed: %s", path,
                       strerror(errno));
        (void)send(TLS_HELPER_FD, &answer, sizeof answer, MSG_NOSIGNAL);
        return PROCESS_STATUS_NOT_STARTED;
}

/* A proxy outlives the monitor, to deliver what is in flight. As root the program must be able to read other
 * users' keys; it drops that capability when it has read its files. */
static int
start_program(int end)
{
        G_STATIC_ASSERT(TLS_HELPER_FD == PROCESS_FIRST_FD);
        pid_t pid = process_start(
                &(ProcessSpec){
                        .name = "conmon-tls",
                        .run = execute,
                        .arg = program(),
                        .fds = &end,
                        .n_fds = 1,
                        .confined = true,
                        .rights = RIGHT(CAP_DAC_READ_SEARCH),
                },
                NULL);
        return pid < 0 ? (int)pid : 0;
}

static void on_answer(GIOCondition revents, void *data);
static void on_limit(void *data);

static void
finish(LogTls *t)
{
        watch_done(&t->watch);
        timer_stop(&t->limit);
        t->busy = false;
}

int
log_tls_start(LogTls *t, const char *host, uint16_t port)
{
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
                return -errno;
        GString *request = compose_request(t, host, port);
        ssize_t n = send(ends[0], request->str, request->len, MSG_DONTWAIT | MSG_NOSIGNAL);
        int r = n == (ssize_t)request->len ? fd_set_nonblock(ends[0], true) : -EMSGSIZE;
        g_string_free(request, TRUE);
        if (r == 0)
                r = start_program(ends[1]);
        (void)close(ends[1]);
        if (r < 0) {
                (void)close(ends[0]);
                return r;
        }
        t->fd = ends[0];
        t->busy = true;
        t->mode = TLS_FAILED;
        watch_init(&t->watch, t->fd, WATCH_PRIORITY_IO, on_answer, t);
        watch_arm(&t->watch, G_IO_IN);
        timer_init(&t->limit, on_limit, t);
        timer_start(&t->limit, ANSWER_SECONDS * G_USEC_PER_SEC);
        return 0;
}

bool
log_tls_is_busy(const LogTls *t)
{
        return t->busy;
}

void
log_tls_stop(LogTls *t)
{
        if (!t->busy)
                return;
        finish(t);
        fd_close(&t->fd);
}

/* ---- the answer ---- */

static void
fail(LogTls *t, int error, const char *reason)
{
        finish(t);
        fd_close(&t->fd);
        if (error == -ENOENT) /* the host no longer exists */
                *t->addresses = '\0';
        t->func(&(LogTlsResult){.error = error, .reason = reason, .fd = -1, .tcp_fd = -1}, t->data);
}

static void
succeed(LogTls *t, const TlsAnswer *answer, int fd)
{
        int own = fd_steal(&t->fd);
        finish(t);
        t->mode = answer->mode;
        t->within_record = false;
        (void)g_strlcpy(t->version, answer->version, sizeof t->version);
        (void)g_strlcpy(t->cipher, answer->cipher, sizeof t->cipher);
        (void)g_strlcpy(t->addresses, answer->addresses, sizeof t->addresses);
        bool proxy = t->mode == TLS_PROXY;
        if (!proxy)
                fd_close(&own);
        t->func(&(LogTlsResult){.fd = proxy ? own : fd, .tcp_fd = proxy ? fd : -1}, t->data);
}

static void
on_answer(GIOCondition revents, void *data)
{
        LogTls *t = data;
        TlsAnswer answer;
        autofd int fd = -1;
        ssize_t n = fd_receive_one(t->fd, &answer, sizeof answer, &fd);
        if (n == -EAGAIN || n == -EINTR)
                return;
        if (n != sizeof answer) {
                fail(t, -ECHILD, "conmon-tls ended without an answer");
                return;
        }
        /* Strings from another program may be unterminated. */
        answer.version[sizeof answer.version - 1] = answer.cipher[sizeof answer.cipher - 1] = '\0';
        answer.reason[sizeof answer.reason - 1] = '\0';
        if (answer.mode == TLS_CONNECTED)
                t->accepted = true;
        else if ((answer.mode == TLS_PROXY || answer.mode == TLS_KERNEL) && fd >= 0)
                succeed(t, &answer, fd_steal(&fd));
        else
                fail(t, answer.error > 0 && answer.error < 4096 ? -(int)answer.error : -EPROTO,
                     answer.reason);
}

static void
on_limit(void *data)
{
        fail(data, -ETIMEDOUT, "conmon-tls made no connection within 180 seconds");
}

/* ---- records of kernel TLS ---- */

/* Returns the type of the received record; 0: none, at the end of the connection. */
static unsigned char
record_type(struct msghdr *message)
{
        const struct cmsghdr *c = CMSG_FIRSTHDR(message);
        bool known = c && c->cmsg_level == LEVEL_TLS && c->cmsg_type == GET_RECORD_TYPE;
        return known ? *CMSG_DATA(c) : 0;
}

/* Returns 0 if the record ends the connection, -EAGAIN if it can be ignored, or -errno. */
static ssize_t
take_control(LogTls *t, unsigned char type, const unsigned char *bytes, size_t n, bool whole)
{
        bool first = !t->within_record;
        t->within_record = !whole;
        if (!first)
                return -EAGAIN;
        if (type == RECORD_ALERT)
                return n >= 2 && bytes[0] == ALERT_WARNING && bytes[1] != ALERT_CLOSE_NOTIFY ? -EAGAIN
                       : n >= 2 && bytes[1] == ALERT_CLOSE_NOTIFY                            ? 0
                                                                                             : -ECONNABORTED;
        /* Only a TLS library could derive new keys. A new connection gets new ones. */
        return type == RECORD_HANDSHAKE && n > 0 && bytes[0] == HANDSHAKE_KEY_UPDATE ? 0 : -EAGAIN;
}

static ssize_t
read_records(LogTls *t, int fd, void *bytes, size_t size)
{
        for (;;) {
                union {
                        struct cmsghdr header;
                        char space[CMSG_SPACE(sizeof(unsigned char))];
                } control;
                struct iovec piece = {bytes, size};
                struct msghdr message = {.msg_iov = &piece,
                                         .msg_iovlen = 1,
                                         .msg_control = &control,
                                         .msg_controllen = sizeof control};
                ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                unsigned char type = record_type(&message);
                if (type == 0 || (type == RECORD_DATA && n > 0))
                        return n;
                ssize_t r =
                        take_control(t, type, bytes, (size_t)n, (message.msg_flags & MSG_EOR) != 0);
                if (r != -EAGAIN)
                        return r;
        }
}

ssize_t
log_tls_read(LogTls *t, int fd, void *bytes, size_t size)
{
        return t->mode == TLS_KERNEL ? read_records(t, fd, bytes, size) : fd_read(fd, bytes, size);
}

/* A proxy does this itself when its socket is closed. */
void
log_tls_say_end(const LogTls *t, int fd)
{
        if (t->mode != TLS_KERNEL)
                return;
        unsigned char alert[] = {ALERT_WARNING, ALERT_CLOSE_NOTIFY};
        struct iovec piece = {alert, sizeof alert};
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(unsigned char))];
        } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(unsigned char)),
                                .cmsg_level = LEVEL_TLS,
                                .cmsg_type = SET_RECORD_TYPE}};
        struct msghdr message = {.msg_iov = &piece,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof control};
        *CMSG_DATA(&control.header) = RECORD_ALERT;
        (void)sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void
log_tls_status(const LogTls *t, bool connected, GString *json)
{
        if (!connected) {
                g_string_append(json, ",\"tls\":null");
                return;
        }
        g_string_append_printf(json, ",\"tls\":\"%s\",\"tls_version\":",
                               t->mode == TLS_KERNEL ? "kernel" : "proxy");
        json_append_string(json, t->version, strlen(t->version));
        g_string_append(json, ",\"tls_cipher\":");
        json_append_string(json, t->cipher, strlen(t->cipher));
}

void
log_tls_save(const LogTls *t, StateWriter *w)
{
        state_begin(w, "tls");
        state_put_uint(w, "mode", t->mode);
        state_put_text(w, "version", t->version);
        state_put_text(w, "cipher", t->cipher);
        state_put_uint(w, "within-record", t->within_record);
        state_put_text(w, "addresses", t->addresses);
        state_end(w);
}

void
log_tls_restore(LogTls *t, StateReader *r)
{
        if (!*program())
                state_fail(r, "A log needs TLS, which this conmon was built without");
        t->mode = (TlsMode)state_get_uint(r, "mode", TLS_PROXY);
        g_autofree char *version = state_get_text(r, "version"), *cipher = state_get_text(r, "cipher");
        if (version)
                (void)g_strlcpy(t->version, version, sizeof t->version);
        if (cipher)
                (void)g_strlcpy(t->cipher, cipher, sizeof t->cipher);
        t->within_record = state_get_bool(r, "within-record");
        g_autofree char *addresses = state_get_text(r, "addresses");
        if (addresses)
                (void)g_strlcpy(t->addresses, addresses, sizeof t->addresses);
}

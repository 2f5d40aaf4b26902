/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* The native protocol of systemd-journald (https://systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram per
 * entry, of fields "NAME=value\n", or "NAME\n", the length as 64 bits little endian, the value, "\n". An
 * entry that is too large for a datagram is sent as the descriptor of a sealed memory file. The fields are
 * those that podman logs and journalctl users know; MESSAGE keeps the newline. */

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/gstring.h"
#include "base/sockpath.h"
#include "log/net/transport.h"
#include "log/api/metadata.h"
#include "log/api/severity.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_PATH "/run/systemd/journal/socket"

/* The length of a short id, as callers use it. */
#define SHORT_ID_LEN 12


/* Of a field's name. */
#define LETTERS        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
#define FIELD_NAME_MAX 64

/* The prefix of the path in on-missing. */
#define FILE_WORD "file:"

static const char message_key[] = "MESSAGE"; /* followed by '=' or a newline and a length */
static const char partial_field[] = "CONTAINER_PARTIAL_MESSAGE=true\n";

typedef struct {
        LogConnection connection;
        LogSeverity severity;
        bool tell_partial;
        GString *before; /* the fields between MESSAGE and the digit of PRIORITY */
        GString *behind; /* those from there to CONTAINER_PARTIAL_MESSAGE */
        GString *labels;
} Journald;

typedef struct {
        LogSeverityOptions severity;
        const char *on_missing;
        LogMetadataOptions metadata;
} JournaldOptions;

static gboolean
check_missing(const char *driver, const char *value, GError **error)
{
        if (strcmp(value, "warn") == 0 || strcmp(value, "fail") == 0 ||
            (g_str_has_prefix(value, FILE_WORD) && value[strlen(FILE_WORD)]))
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE,
                         "Log driver journald: option on-missing can't be '%s'; allowed: warn, fail, "
                         "file:PATH",
                         value);
}

#define AT(member) offsetof(JournaldOptions, member)

static const LogOption options[] = {
        LOG_SEVERITY_OPTIONS(JournaldOptions, severity, "true"),
        {"on-missing", {VALUE_TEXT}, AT(on_missing), "warn",
         "what to do if there is no journal: warn, fail, or file:PATH", .check = LOG_CHECK_FIRST},
        LOG_METADATA_OPTIONS(JournaldOptions, metadata),
        {""},
};

/* ---- fields ---- */

static void
append_field(GString *fields, const char *name, const char *value, size_t len)
{
        uint64_t size = htole64(len);
        if (!memchr(value, '\n', len)) {
                g_string_append_printf(fields, "%s=", name);
        } else {
                g_string_append_printf(fields, "%s\n", name);
                g_string_append_len(fields, (const char *)&size, sizeof size);
        }
        g_string_append_len(fields, value, (gssize)len);
        g_string_append_c(fields, '\n');
}

static void
append_text(GString *fields, const char *name, const char *value)
{
        if (value)
                append_field(fields, name, value, strlen(value));
}

static gboolean
check_label(const char *label, GError **error)
{
        size_t name = strspn(label, LETTERS);
        const char *equal = strchr(label, '=');
        const char *why = equal == label ? "the name is missing" : !equal ? "there is no =" : NULL;
        if (why)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Container labels must be in format LABEL=VALUE (%s in '%s')", why, label);
        if (label + name != equal)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Container label names must contain only uppercase letters, numbers and "
                                 "underscore (not so in '%s')",
                                 label);
        return TRUE;
}

static gboolean
check_labels(char **labels, GError **error)
{
        for (; labels && *labels; labels++)
                if (!check_label(*labels, error))
                        return FALSE;
        return TRUE;
}

static gboolean
check_id(const char *cid, GError **error)
{
        return strlen(cid) > SHORT_ID_LEN ||
               error_set(error, CONMON_ERROR_USAGE, "Container ID must be longer than 12 characters");
}

static gboolean
journald_check(const LogDriverConfig *config, GError **error)
{
        const LogConfig *log = config->log;
        return (!*log->cid || check_id(log->cid, error)) && check_labels(log->labels, error);
}

static const char *const own_names[] = {
        "MESSAGE",
        "CONTAINER_ID_FULL",
        "PRIORITY",
        "CONTAINER_ID",
        "CONTAINER_TAG",
        "CONTAINER_NAME",
        "SYSLOG_IDENTIFIER",
        "CONTAINER_PARTIAL_MESSAGE",
        NULL,
};

/* Characters that are not allowed in names become '_'. A name can't begin with that, which the journal
 * reserves, nor with a digit. */
static char *
clean_name(const char *key)
{
        g_autofree char *name = g_strcanon(g_ascii_strup(key, -1), LETTERS, '_');
        const char *start = name + strspn(name, "_");
        if (*start == '\0')
                return g_strdup("X");
        return g_ascii_isdigit(*start) ? g_strconcat("X_", start, NULL) : g_strdup(start);
}

static void
add_attributes(GString *fields, LogMetadata *m)
{
        log_metadata_name_attributes(
                m, &(LogNameRule){.own = own_names, .max_len = FIELD_NAME_MAX, .clean = clean_name});
        for (size_t i = 0; i < m->n_attributes; i++)
                append_text(fields, m->attributes[i].key, m->attributes[i].value);
}

static gboolean
make_fields(Journald *self, const LogDriverConfig *config, GError **error)
{
        const JournaldOptions *o = config->options;
        const LogConfig *log = config->log;
        if (!check_id(log->cid, error))
                return FALSE;
        g_autoptr(LogMetadata) m = log_metadata_new(config, &o->metadata, NULL, error);
        if (!m)
                return FALSE;

        self->before = g_string_new("\n");
        append_text(self->before, "CONTAINER_ID_FULL", log->cid);
        g_string_append(self->before, "PRIORITY=");

        self->behind = g_string_new("\n");
        append_text(self->behind, "CONTAINER_ID", m->short_id);
        append_text(self->behind, "CONTAINER_TAG", m->tag);
        append_text(self->behind, "CONTAINER_NAME", log->name);
        append_text(self->behind, "SYSLOG_IDENTIFIER", m->tag ? m->tag : log->name ? log->name : m->short_id);

        self->labels = g_string_new(NULL);
        add_attributes(self->labels, m);
        return TRUE;
}

/* ---- opening ---- */

static void
journald_done(void *data)
{
        Journald *self = data;
        gstring_free(self->before);
        gstring_free(self->behind);
        gstring_free(self->labels);
}

static const char *
journald_fallback_path(const void *options_given)
{
        const char *missing = ((const JournaldOptions *)options_given)->on_missing;
        bool file = g_str_has_prefix(missing, FILE_WORD);
        return file && sockpath_probe(SOCKET_PATH) < 0 ? missing + strlen(FILE_WORD) : NULL;
}

/* Looks for the journal while an error can still be reported to the caller. */
static gboolean
find_journal(Journald *self, const LogDriverConfig *config, GError **error)
{
        const JournaldOptions *o = config->options;
        int r = sockpath_probe(SOCKET_PATH);
        if (r == 0)
                return TRUE;
        if (strcmp(o->on_missing, "fail") == 0)
                return error_set_errno(error, r, "Log driver journald: there is no journal at %s",
                                       SOCKET_PATH);
        diag_warn("There is no journal at %s: %s; what the container writes is lost unless a journal appears",
                  SOCKET_PATH, g_strerror(-r));
        log_sink_failure_reported(config->sink);
        return TRUE;
}

static gboolean
journald_open(void *data, const LogDriverConfig *config, GError **error)
{
        Journald *self = data;
        const JournaldOptions *o = config->options;
        LogAddress address = {.scheme = LOG_SCHEME_UNIXGRAM, .host = g_strdup(SOCKET_PATH)};
        log_connection_init(&self->connection, config->sink, &address, 1);
        log_severity_init(&self->severity, &o->severity);
        self->tell_partial = !config->log->no_partial_message;
        return make_fields(self, config, error) && find_journal(self, config, error);
}

/* ---- encoding ---- */

static size_t
journald_max_encoded_len(void *data, size_t len)
{
        const Journald *self = data;
        return sizeof message_key + sizeof(uint64_t) + len + 1 + self->before->len + 1 + self->behind->len +
               sizeof partial_field + self->labels->len;
}

static char *
journald_put(void *data, const LogRecord *record, char *at)
{
        Journald *self = data;
        int severity;
        LogRecord copy;
        const LogRecord *r = log_severity_take(&self->severity, record, &copy, &severity);
        bool partial = (r->flags & LOG_RECORD_PARTIAL) != 0;
        uint64_t size = htole64(r->len + 1);
        at = mempcpy(at, message_key, sizeof message_key - 1);
        *at++ = partial ? '=' : '\n';
        if (!partial)
                at = mempcpy(at, &size, sizeof size);
        at = mempcpy(at, r->bytes, r->len);
        if (!partial)
                *at++ = '\n';
        at = mempcpy(at, self->before->str, self->before->len);
        *at++ = (char)('0' + severity);
        at = mempcpy(at, self->behind->str, self->behind->len);
        if (partial && self->tell_partial)
                at = mempcpy(at, partial_field, sizeof partial_field - 1);
        return mempcpy(at, self->labels->str, self->labels->len);
}

/* ---- sending ---- */

static int
make_memory_file(const char *bytes, size_t len)
{
        autofd int fd = memfd_create("journal-entry", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;
        int r = fd_write_all(fd, bytes, len);
        if (r < 0)
                return r;
        if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
                return -errno;
        return fd_steal(&fd);
}

/* Returns 0 or -errno. The connection waits for buffer space, as for any message. */
static int
send_descriptor(LogConnection *c, int fd)
{
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof fd)];
        } control = {.header = {.cmsg_len = CMSG_LEN(sizeof fd),
                                .cmsg_level = SOL_SOCKET,
                                .cmsg_type = SCM_RIGHTS}};
        struct msghdr message = {.msg_control = &control, .msg_controllen = sizeof control};
        memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
        if (sendmsg(c->socket.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
                return 0;
        int r = -errno;
        if (r == -EAGAIN)
                (void)log_connection_wait(c);
        return r;
}

static int
send_large(Journald *self, LogQueue *q)
{
        LogMessage m;
        if (log_queue_peek(q, &m, 1) == 0)
                return 0;
        autofd int fd = make_memory_file(m.bytes, m.len);
        int r = fd < 0 ? fd : send_descriptor(&self->connection, fd);
        if (r == -EAGAIN)
                return LOG_SEND_WAIT;
        if (r < 0)
                log_connection_break(&self->connection, q);
        else
                log_queue_wrote(q, m.len);
        return r;
}

/* A restarted journal is found immediately. */
static int
try_send(Journald *self, LogQueue *q)
{
        int r = log_connection_ready(&self->connection, q);
        if (r != 0)
                return r;
        do {
                r = log_connection_send(&self->connection, q);
                if (r == -EMSGSIZE)
                        r = send_large(self, q);
        } while (r == 0 && !log_queue_is_empty(q));
        return r;
}

static int
journald_send(void *data, LogQueue *q)
{
        Journald *self = data;
        if (log_queue_is_empty(q))
                return 0;
        int r = try_send(self, q);
        return r == -ECONNREFUSED || r == -ECONNRESET ? try_send(self, q) : r;
}

/* The journal is local, and the output of podman logs should be complete when the exit file appears. */
static void
journald_finish(void *data, LogQueue *q, gint64 until)
{
        Journald *self = data;
        while (!log_queue_is_empty(q) && self->connection.waiting) {
                struct pollfd p = {.fd = self->connection.socket.fd, .events = POLLOUT};
                gint64 left = (until - g_get_monotonic_time()) / 1000;
                if (left <= 0 || poll(&p, 1, (int)MIN(left, G_MAXINT)) <= 0 || journald_send(self, q) < 0)
                        return;
        }
}

static const char *
journald_target(void *data)
{
        return "the journal";
}

static void
journald_save(void *data, const LogQueue *queue, StateWriter *w)
{
        const Journald *self = data;
        log_connection_save(&self->connection, w);
        log_severity_save(&self->severity, w);
        state_put_uint(w, "tell-partial", self->tell_partial);
        state_put_string(w, "before", self->before);
        state_put_string(w, "behind", self->behind);
        state_put_string(w, "labels", self->labels);
}

static void
journald_restore(void *data, const LogDriverConfig *config, const LogQueue *queue, StateReader *r)
{
        Journald *self = data;
        log_connection_restore(&self->connection, config->sink, NULL, r);
        log_severity_restore(&self->severity, r);
        self->tell_partial = state_get_bool(r, "tell-partial");
        self->before = state_get_string(r, "before");
        self->behind = state_get_string(r, "behind");
        self->labels = state_get_string(r, "labels");
}

static const LogTransport transport = {
        .send = journald_send,
        .finish = journald_finish,
        .taken = log_connection_taken,
        .target = journald_target,
        .close = log_connection_close,
};

const LogDriver log_driver_journald = {
        .name = "journald",
        .help = "the systemd journal",
        .options = {options, sizeof(JournaldOptions), {check_missing}},
        .flags = LOG_DRIVER_ANNOTATIONS | LOG_DRIVER_OWN_SOCKET | LOG_DRIVER_LOCAL_SERVER |
                 LOG_DRIVER_METADATA | LOG_DRIVER_WHOLE_LINES | LOG_DRIVER_SPLIT_FULL,
        .max_record = 8192,
        .size = sizeof(Journald),
        .format = {journald_put, journald_max_encoded_len},
        .transport = &transport,
        .fallback_path = journald_fallback_path,
        .check = journald_check,
        .open = journald_open,
        .done = journald_done,
        .save = journald_save,
        .restore = journald_restore,
};

/* The native protocol of systemd-journald (https://systemd.io/JOURNAL_NATIVE_PROTOCOL): a datagram an entry,
 * of fields "NAME=value\n", or "NAME\n", the length as 64 bits little endian, the value, "\n". An entry that
 * is too large for a datagram is sent as the descriptor of a sealed memory file. The fields are those that
 * podman logs and journalctl users know; MESSAGE keeps the newline. */

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "log/connection.h"
#include "log/metadata.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_PATH "/run/systemd/journal/socket"

/* What callers take for the short form of an id. */
#define SHORT_ID_LEN 12

/* At the end a journal that takes nothing for so long is not waited for any more. */
#define FINISH_WAIT_MS 100

/* Of a field's name. */
#define LETTERS        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
#define FIELD_NAME_MAX 64

/* In front of the path in on-missing. */
#define FILE_WORD "file:"

static const char message_key[] = "MESSAGE"; /* with '=' or a newline and a length behind it */
static const char partial_field[] = "CONTAINER_PARTIAL_MESSAGE=true\n";

typedef struct {
        LogConnection connection;
        char priorities[N_STREAMS]; /* digits */
        bool parse_prefix;
        bool tell_partial;
        GString *before; /* the fields between MESSAGE and the digit of PRIORITY */
        GString *behind; /* those from there to CONTAINER_PARTIAL_MESSAGE */
        GString *labels;
} Journald;

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

static const LogOption options[] = {
        {"mode", LOG_OPTION_ENUM, "blocking",
         "whether the container waits while the queue is full; by default not for a journal that is missing",
         .choices = "blocking|non-blocking"},
        {"priority-stdout", LOG_OPTION_INT, "6", "PRIORITY of what comes from stdout", .max = 7},
        {"priority-stderr", LOG_OPTION_INT, "3", "PRIORITY of what comes from stderr", .max = 7},
        {"parse-prefix", LOG_OPTION_BOOL, "yes", "whether <0> to <7> at the start of a line is its priority"},
        {"on-missing", LOG_OPTION_STRING, "warn", "what to do without a journal: warn, fail, or file:PATH",
         .check = check_missing},
        {NULL},
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
        const char *why = equal == label ? "the name is missing"
                          : !equal       ? "there is no ="
                          : strchr(equal + 1, '=') ? "there is more than one ="
                                                   : NULL;
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

static void
add_labels(GString *fields, char **labels)
{
        for (; labels && *labels; labels++) {
                const char *equal = strchr(*labels, '=');
                g_autofree char *name = g_strndup(*labels, (gsize)(equal - *labels));
                append_text(fields, name, equal + 1);
        }
}

static bool
is_label(const char *key, char **labels)
{
        for (; labels && *labels; labels++)
                if (g_str_has_prefix(*labels, key) && (*labels)[strlen(key)] == '=')
                        return true;
        return false;
}

/* The attributes that are no labels. What a field's name can't have becomes '_', but
 * it can't begin with that. */
static void
add_attributes(GString *fields, const LogMetadata *m, char **labels)
{
        for (size_t i = 0; i < m->n_attributes; i++) {
                const char *key = m->attributes[i].key;
                if (is_label(key, labels))
                        continue;
                g_autofree char *name = g_ascii_strup(key, FIELD_NAME_MAX);
                g_strcanon(name, LETTERS, '_');
                const char *start = name + strspn(name, "_");
                if (*start)
                        append_text(fields, start, m->attributes[i].value);
        }
}

static gboolean
make_fields(Journald *self, const LogDriverConfig *config, GError **error)
{
        const LogConfig *log = config->log;
        if (strlen(log->cid) <= SHORT_ID_LEN)
                return error_set(error, CONMON_ERROR_USAGE, "Container ID must be longer than 12 characters");
        if (!check_labels(log->labels, error))
                return FALSE;
        g_autoptr(LogMetadata) m = log_metadata_new(config, NULL, error);
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
        add_labels(self->labels, log->labels);
        add_attributes(self->labels, m, log->labels);
        return TRUE;
}

/* ---- opening ---- */

static void
journald_close(void *data)
{
        Journald *self = data;
        log_connection_done(&self->connection);
        if (self->before)
                g_string_free(self->before, TRUE);
        if (self->behind)
                g_string_free(self->behind, TRUE);
        if (self->labels)
                g_string_free(self->labels, TRUE);
        g_free(self);
}

static int
probe_journal(void)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SOCKET_PATH};
        autofd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        return fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
}

static const char *
journald_instead(const LogOptions *o)
{
        const char *missing = log_options_string(o, "on-missing");
        bool file = g_str_has_prefix(missing, FILE_WORD);
        return file && probe_journal() < 0 ? missing + strlen(FILE_WORD) : NULL;
}

/* Looks for the journal while the caller can still be told. */
static gboolean
find_journal(Journald *self, const LogDriverConfig *config, GError **error)
{
        int r = probe_journal();
        if (r == 0)
                return TRUE;
        if (strcmp(log_options_string(config->options, "on-missing"), "fail") == 0)
                return error_set_errno(error, r, "Log driver journald: there is no journal at %s",
                                       SOCKET_PATH);
        diag_warn("There is no journal at %s: %s; what the container writes is lost unless a journal appears",
                  SOCKET_PATH, g_strerror(-r));
        log_sink_told(config->sink);
        return TRUE;
}

static void *
journald_open(const LogDriverConfig *config, GError **error)
{
        const LogOptions *o = config->options;
        Journald *self = g_new0(Journald, 1);
        LogAddress *address = g_new0(LogAddress, 1);
        *address = (LogAddress){.transport = LOG_TRANSPORT_UNIXGRAM, .host = g_strdup(SOCKET_PATH)};
        log_connection_init(&self->connection, config->sink, address, 1);
        self->priorities[STREAM_STDOUT] = (char)('0' + log_options_number(o, "priority-stdout"));
        self->priorities[STREAM_STDERR] = (char)('0' + log_options_number(o, "priority-stderr"));
        self->parse_prefix = log_options_number(o, "parse-prefix") != 0;
        self->tell_partial = !config->log->no_partial_message;
        if (make_fields(self, config, error) && find_journal(self, config, error))
                return self;
        journald_close(self);
        return NULL;
}

/* ---- encoding ---- */

static char *
put(char *at, const char *bytes, size_t len)
{
        memcpy(at, bytes, len);
        return at + len;
}

/* "<3>" at the start of a line; of a line that goes on in other records only the first has one. */
static bool
has_prefix(const Journald *self, const LogRecord *r)
{
        return self->parse_prefix && r->len >= 3 && r->bytes[0] == '<' && r->bytes[2] == '>' &&
               r->bytes[1] >= '0' && r->bytes[1] <= '7' &&
               !(r->flags & (LOG_RECORD_CONTINUES | LOG_RECORD_MARKER));
}

static size_t
journald_bound(void *data, size_t len)
{
        const Journald *self = data;
        return sizeof message_key + sizeof(uint64_t) + len + 1 + self->before->len + 1 + self->behind->len +
               sizeof partial_field + self->labels->len;
}

static char *
put_entry(const Journald *self, const LogRecord *r, char *at)
{
        bool partial = (r->flags & LOG_RECORD_PARTIAL) != 0, prefix = has_prefix(self, r);
        const char *bytes = r->bytes + (prefix ? 3 : 0);
        size_t len = r->len - (prefix ? 3 : 0);
        uint64_t size = htole64(len + 1);
        at = put(at, message_key, sizeof message_key - 1);
        *at++ = partial ? '=' : '\n';
        if (!partial)
                at = put(at, (const char *)&size, sizeof size);
        at = put(at, bytes, len);
        if (!partial)
                *at++ = '\n';
        at = put(at, self->before->str, self->before->len);
        *at++ = prefix ? r->bytes[1] : self->priorities[r->stream];
        at = put(at, self->behind->str, self->behind->len);
        if (partial && self->tell_partial)
                at = put(at, partial_field, sizeof partial_field - 1);
        return put(at, self->labels->str, self->labels->len);
}

static size_t
journald_encode(void *data, const LogRecord *records, size_t n, LogBlock *block)
{
        const Journald *self = data;
        for (size_t i = 0; i < n; i++) {
                char *at = log_block_room(block, journald_bound(data, records[i].len));
                if (!at)
                        return i;
                char *end = put_entry(self, &records[i], at);
                log_block_add(block, (size_t)(end - at), &records[i]);
        }
        return n;
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

/* Returns 0 or -errno. The wait for room is the connection's as for any message. */
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
        if (sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
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

/* A journal that was started anew is found at once. */
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

/* The journal is local, and what podman logs shows after the exit file appears should be complete. */
static void
journald_finish(void *data, LogQueue *q, bool sync)
{
        Journald *self = data;
        while (!log_queue_is_empty(q) && self->connection.waiting) {
                struct pollfd p = {.fd = self->connection.fd, .events = POLLOUT};
                if (poll(&p, 1, FINISH_WAIT_MS) <= 0 || journald_send(self, q) < 0)
                        return;
        }
}

static const char *
journald_target(void *data)
{
        return "the journal";
}

const LogDriver log_driver_journald = {
        .name = "journald",
        .help = "the systemd journal",
        .options = options,
        .flags = LOG_DRIVER_METADATA | LOG_DRIVER_WHOLE_LINES | LOG_DRIVER_SPLIT_FULL,
        .max_record = 8192,
        .instead = journald_instead,
        .open = journald_open,
        .encode = journald_encode,
        .bound = journald_bound,
        .send = journald_send,
        .finish = journald_finish,
        .target = journald_target,
        .close = journald_close,
};

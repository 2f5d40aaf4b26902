/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Syslog: the format of the local socket, which Docker uses everywhere by default, BSD syslog (RFC 3164),
 * and RFC 5424. Messages end with a newline (RFC 6587, 3.4.2), but RFC 5424 over TCP is preceded by its
 * length (3.4.1), and so is everything over TLS (RFC 5425, 4.3). */

#include "base/clock.h"
#include "base/diag.h"
#include "base/error.h"
#include "base/gstring.h"
#include "base/sockpath.h"
#include "log/net/transport.h"
#include "log/api/metadata.h"
#include "log/api/severity.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_PORT 514
#define TLS_PORT     6514
#define TLS_SCHEME   "tcp+tls://"

/* RFC 5424, 6. */
#define APP_NAME_MAX 48
#define MSGID_MAX    32
#define SD_NAME_MAX  32

/* Private elements need an enterprise number; this one is for documentation (RFC 5612). */
#define ENTERPRISE "32473"

/* rsyslog truncates messages at 8 KiB by default. */
#define MESSAGE_MAX 8000

/* The maximum size of the tag of the old formats, or the attributes of the new one. Names and the rest
 * take less than 600 bytes, which leaves the minimum that intake/ reserves for the line. */
#define TAG_MAX      1024
#define ELEMENTS_MAX 6000

/* "12345678 " */
#define COUNT_MAX 9

/* The longest text of a partial element. */
#define PARTIAL_MAX 112

typedef enum {
        FORMAT_RFC3164,
        FORMAT_RFC5424,
        FORMAT_RFC5424MICRO,
        FORMAT_LOCAL, /* RFC 3164 without host name */
} Format;

/* The header, without the structured data of a partial line. */
typedef struct {
        int64_t time_ns;
        int severity;
        GString *text;
} Head;

typedef struct {
        LogConnection connection;
        Format format;
        bool counted;
        int facility;
        LogSeverity severity;
        ClockFormatter clock;
        Head heads[N_STREAMS];
        char *host;
        char *tag;
        char *msgid;
        char *elements;   /* structured data of the attributes; may be empty */
        char *whole_data; /* structured data of a whole line, with a space */
        size_t whole_data_len;
        size_t head_max;
} Syslog;

static const char *const facilities[] = {
        "kern",   "user",   "mail",     "daemon", "auth",   "syslog", "lpr",    "news",
        "uucp",   "cron",   "authpriv", "ftp",    "12",     "13",     "14",     "15",
        "local0", "local1", "local2",   "local3", "local4", "local5", "local6", "local7",
};

/* No address is the local socket. */
static gboolean
parse_address(const char *text, LogAddress *ret, GError **error)
{
        const unsigned allowed = 1u << LOG_SCHEME_UNIX | 1u << LOG_SCHEME_UNIXGRAM | 1u << LOG_SCHEME_UDP |
                                 1u << LOG_SCHEME_TCP | 1u << LOG_SCHEME_TCP_TLS;
        uint16_t port = g_str_has_prefix(text, TLS_SCHEME) ? TLS_PORT : DEFAULT_PORT;
        return !*text || log_address_parse("syslog", "syslog-address", text, allowed, port, ret, error);
}

static gboolean
check_address(const char *driver, const char *text, GError **error)
{
        return parse_address(text, NULL, error);
}

static gboolean
parse_facility(const char *name, int *ret, GError **error)
{
        guint64 number;
        for (int i = 0; i < (int)G_N_ELEMENTS(facilities); i++) {
                if (strcmp(name, facilities[i]) == 0) {
                        *ret = i;
                        return TRUE;
                }
        }
        if (g_ascii_string_to_unsigned(name, 10, 0, G_N_ELEMENTS(facilities) - 1, &number, NULL)) {
                *ret = (int)number;
                return TRUE;
        }
        return error_set(error, CONMON_ERROR_USAGE,
                         "Log driver syslog: option syslog-facility can't be '%s'; allowed: kern, user, "
                         "mail, daemon, "
                         "auth, syslog, lpr, news, uucp, cron, authpriv, ftp, local0 to local7, 0 to 23",
                         name);
}

static gboolean
check_facility(const char *driver, const char *name, GError **error)
{
        int number;
        return parse_facility(name, &number, error);
}

typedef struct {
        const char *address;
        const char *facility;
        int format; /* Format */
        LogSeverityOptions severity;
        LogTlsOptions tls;
        int64_t peer_timeout;
        LogMetadataOptions metadata;
} SyslogOptions;

#define AT(member) offsetof(SyslogOptions, member)

static const LogOption options[] = {
        {"syslog-address", {VALUE_TEXT}, AT(address), "",
         "udp://HOST[:PORT], tcp://HOST[:PORT], tcp+tls://HOST[:PORT], unix://PATH or unixgram://PATH; not "
         "set: the local socket",
         .check = LOG_CHECK_FIRST, .annotations = LOG_ANNOTATIONS_ADDRESS},
        {"syslog-facility", {VALUE_TEXT}, AT(facility), "daemon",
         "facility: a name, or a number from 0 to 23", .check = LOG_CHECK_SECOND,
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"syslog-format", {VALUE_CHOICE, "rfc3164|rfc5424|rfc5424micro|"}, AT(format), "",
         "message format; empty: RFC 3164 without host name", .annotations = LOG_ANNOTATIONS_ALLOWED},
        LOG_SEVERITY_OPTIONS(SyslogOptions, severity, "false"),
        LOG_TLS_OPTIONS("syslog", SyslogOptions, tls),
        LOG_CONNECTION_OPTIONS(SyslogOptions, peer_timeout),
        LOG_METADATA_OPTIONS(SyslogOptions, metadata),
        {""},
};

/* ---- opening ---- */

/* The paths where a local syslog daemon listens. */
static const char *const local_paths[] = {"/dev/log", "/var/run/syslog", "/var/run/log"};

/* Datagram sockets first. Returns how many addresses these are. */
static size_t
set_local_addresses(LogAddress *list)
{
        size_t n = 0;
        for (size_t i = 0; i < G_N_ELEMENTS(local_paths); i++)
                list[n++] = (LogAddress){.scheme = LOG_SCHEME_UNIXGRAM, .host = g_strdup(local_paths[i])};
        for (size_t i = 0; i < G_N_ELEMENTS(local_paths); i++)
                list[n++] = (LogAddress){.scheme = LOG_SCHEME_UNIX, .host = g_strdup(local_paths[i])};
        return n;
}

static bool
is_new_style(const Syslog *self)
{
        return self->format == FORMAT_RFC5424 || self->format == FORMAT_RFC5424MICRO;
}

static gboolean
read_address(Syslog *self, const LogDriverConfig *config, GError **error)
{
        const SyslogOptions *o = config->options;
        LogAddress list[2 * G_N_ELEMENTS(local_paths)] = {0};
        if (!parse_address(o->address ? o->address : "", list, error))
                return FALSE;
        size_t n = list->host ? 1 : set_local_addresses(list);
        self->counted = list->scheme == LOG_SCHEME_TCP_TLS ||
                        (list->scheme == LOG_SCHEME_TCP && is_new_style(self));
        log_connection_init(&self->connection, config->sink, list, n);
        /* The list of local paths has both types, datagrams first. */
        self->connection.either_type = n == 1;
        self->connection.peer_timeout = o->peer_timeout;
        return log_connection_set_tls(&self->connection, "syslog", &o->tls, error);
}

static gboolean
syslog_check(const LogDriverConfig *config, GError **error)
{
        const SyslogOptions *o = config->options;
        return log_tls_check("syslog", o->address, TLS_SCHEME, &o->tls, error);
}

/* A copy in which every byte that could end the field early is '_'; "-" if nothing is left. */
static char *
make_safe(const char *text, size_t max, const char *forbidden)
{
        char *safe = g_strndup(text, MIN(strlen(text), max));
        for (char *c = safe; *c; c++)
                if (*c <= ' ' || *c >= 127 || strchr(forbidden, *c))
                        *c = '_';
        if (*safe)
                return safe;
        g_free(safe);
        return g_strdup("-");
}

/* RFC 5424, 6.3.3. */
static char *
clean_name(const char *key)
{
        return make_safe(key, SD_NAME_MAX, "=]\"");
}

/* RFC 5424, 6.3: " \ and ] are escaped by a backslash. */
static void
append_parameter(GString *out, const char *name, const char *value)
{
        g_string_append_printf(out, " %s=\"", name);
        for (; *value; value++) {
                if (strchr("\"\\]", *value))
                        g_string_append_c(out, '\\');
                g_string_append_c(out, *value == '\n' ? ' ' : *value);
        }
        g_string_append_c(out, '"');
}

/* Attributes that do not fit are omitted completely: a truncated value may have another meaning. */
static char *
make_elements(LogMetadata *m)
{
        static const char *const none[] = {NULL};
        g_autoptr(GString) left_out = g_string_new(NULL);
        log_metadata_name_attributes(
                m, &(LogNameRule){.own = none, .max_len = SD_NAME_MAX, .clean = clean_name});
        GString *out = g_string_new(NULL);
        if (m->n_attributes > 0)
                g_string_append(out, "[attributes@" ENTERPRISE);
        for (size_t i = 0; i < m->n_attributes; i++) {
                size_t before = out->len;
                append_parameter(out, m->attributes[i].key, m->attributes[i].value);
                if (out->len < ELEMENTS_MAX)
                        continue;
                g_string_truncate(out, before);
                g_string_append_printf(left_out, "%s%s", left_out->len ? ", " : "", m->attributes[i].key);
        }
        if (m->n_attributes > 0)
                g_string_append_c(out, ']');
        if (left_out->len > 0)
                diag_warn("Log driver syslog: these attributes are omitted, because messages have no space "
                          "for them: %s; the limit for all attributes is %d bytes",
                          left_out->str, ELEMENTS_MAX);
        return g_string_free(out, FALSE);
}

/* The values derived from the names. */
static void
measure_names(Syslog *self)
{
        self->whole_data = g_strconcat(*self->elements ? self->elements : "-", " ", NULL);
        self->whole_data_len = strlen(self->whole_data);
        /* Priority, version, time, pid, blanks and brackets are less than 80 bytes. */
        self->head_max =
                80 + strlen(self->host) + strlen(self->tag) + strlen(self->msgid) + strlen(self->elements);
        for (StreamId i = 0; i < N_STREAMS; i++)
                self->heads[i].text = g_string_new(NULL);
}

static void
make_names(Syslog *self, LogMetadata *m)
{
        self->host = make_safe(m->host, sizeof m->host - 1, "");
        self->tag =
                is_new_style(self) ? make_safe(m->tag, APP_NAME_MAX, "") : make_safe(m->tag, TAG_MAX, "[]:");
        self->msgid = make_safe(m->tag, MSGID_MAX, "");
        self->elements = is_new_style(self) ? make_elements(m) : g_strdup("");
        measure_names(self);
}
static void
syslog_done(void *data)
{
        Syslog *self = data;
        for (StreamId i = 0; i < N_STREAMS; i++)
                gstring_free(self->heads[i].text);
        g_free(self->host);
        g_free(self->tag);
        g_free(self->msgid);
        g_free(self->elements);
        g_free(self->whole_data);
}

/* Looks for the local socket while an error can still be reported to the caller. */
static void
report_missing(const Syslog *self, LogSink *sink)
{
        const LogConnection *c = &self->connection;
        int r = 0, first = 0;
        for (size_t i = 0; i < c->n_addresses; i++) {
                const LogAddress *a = &c->addresses[i];
                if (!log_scheme_is_local(a->scheme))
                        return;
                r = sockpath_probe(a->host);
                if (r == 0)
                        return;
                first = i == 0 ? r : first;
        }
        diag_warn("There is no syslog server at %s: %s; what the container writes is lost unless one appears",
                  c->addresses[0].host, g_strerror(-first));
        log_sink_failure_reported(sink);
}

static gboolean
syslog_open(void *data, const LogDriverConfig *config, GError **error)
{
        Syslog *self = data;
        const SyslogOptions *o = config->options;
        self->format = (Format)o->format;
        if (!parse_facility(o->facility, &self->facility, error) || !read_address(self, config, error))
                return FALSE;
        g_autoptr(LogMetadata) metadata = log_metadata_new(config, &o->metadata, "{{.ID}}", error);
        if (!metadata)
                return FALSE;
        log_severity_init(&self->severity, &o->severity);
        make_names(self, metadata);
        report_missing(self, config->sink);
        return TRUE;
}

/* ---- encoding ---- */

/* Z is what Go writes for UTC. */
static const char *
offset_of(const char *local)
{
        const char *offset = local + CLOCK_LOCAL_LEN - 6;
        return strcmp(offset, "+00:00") == 0 ? "Z" : offset;
}

static void
make_new_head(const Syslog *self, int priority, const char *local, GString *out)
{
        int digits = self->format == FORMAT_RFC5424MICRO ? 26 : 19;
        g_string_printf(out, "<%d>1 %.*s%s %s %s %d %s ", priority, digits, local, offset_of(local),
                        self->host, self->tag, (int)getpid(), self->msgid);
}

static void
make_old_head(const Syslog *self, int priority, const char *local, GString *out)
{
        static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        int month = (local[5] - '0') * 10 + local[6] - '1';
        bool host = self->format == FORMAT_RFC3164;
        g_string_printf(out, "<%d>%.3s %c%c %.8s %s%s%s[%d]: ", priority, months + 3 * month,
                        local[8] == '0' ? ' ' : local[8], local[9], local + 11, host ? self->host : "",
                        host ? " " : "", self->tag, (int)getpid());
}

static const GString *
get_head(Syslog *self, const LogRecord *r, int severity)
{
        Head *head = &self->heads[r->stream];
        if (head->text->len > 0 && head->time_ns == r->time_ns && head->severity == severity)
                return head->text;
        char local[CLOCK_LOCAL_LEN + 1] = "";
        clock_format_local(&self->clock, r->time_ns, local);
        head->time_ns = r->time_ns;
        head->severity = severity;
        int priority = self->facility * 8 + severity;
        if (is_new_style(self))
                make_new_head(self, priority, local, head->text);
        else
                make_old_head(self, priority, local, head->text);
        return head->text;
}

/* The structured data of one record with a space after it; nothing for the old formats. */
static size_t
put_data(const Syslog *self, const LogRecord *r, char *at, size_t room)
{
        if (!is_new_style(self))
                return 0;
        if (r->ordinal == 0) {
                memcpy(at, self->whole_data, self->whole_data_len);
                return self->whole_data_len;
        }
        return (size_t)snprintf(
                at, room,
                "%s[partial@" ENTERPRISE " id=\"%016" G_GINT64_MODIFIER "x\" ordinal=\"%u\" last=\"%s\"] ",
                self->elements, r->partial_id, r->ordinal, log_record_is_last(r) ? "true" : "false");
}

static size_t
syslog_max_encoded_len(void *data, size_t len)
{
        const Syslog *self = data;
        return COUNT_MAX + self->head_max + PARTIAL_MAX + len + 1;
}

/* Inserts the length in front of the message, which is known only now. */
static char *
put_count(char *at, size_t len)
{
        char count[COUNT_MAX], *digit = count + sizeof count;
        size_t n, left = len;
        *--digit = ' ';
        do
                *--digit = (char)('0' + left % 10);
        while (left /= 10);
        n = (size_t)(count + sizeof count - digit);
        memmove(at + n, at, len);
        memcpy(at, digit, n);
        return at + n + len;
}

static char *
syslog_put(void *data, const LogRecord *record, char *at)
{
        Syslog *self = data;
        int severity;
        LogRecord copy;
        const LogRecord *r = log_severity_take(&self->severity, record, &copy, &severity);
        const GString *head = get_head(self, r, severity);
        char *end = at;
        end = mempcpy(end, head->str, head->len);
        end += put_data(self, r, end, self->head_max + PARTIAL_MAX);
        end = mempcpy(end, r->bytes, r->len);
        if (self->counted)
                return put_count(at, (size_t)(end - at));
        *end++ = '\n';
        return end;
}

static size_t
syslog_encode(void *data, const LogRecord *records, size_t n, LogBlock *block)
{
        return log_format_encode_each(syslog_put, syslog_max_encoded_len, data, records, n, block);
}

/* ---- live upgrade ---- */

static void
syslog_save(void *data, const LogQueue *queue, StateWriter *w)
{
        const Syslog *self = data;
        log_connection_save(&self->connection, w);
        state_put_uint(w, "format", self->format);
        state_put_uint(w, "counted", self->counted);
        state_put_int(w, "facility", self->facility);
        log_severity_save(&self->severity, w);
        state_put_text(w, "host", self->host);
        state_put_text(w, "tag", self->tag);
        state_put_text(w, "message-id", self->msgid);
        state_put_text(w, "elements", self->elements);
}

static void
syslog_restore(void *data, const LogDriverConfig *config, const LogQueue *queue, StateReader *r)
{
        Syslog *self = data;
        log_connection_restore(&self->connection, config->sink,
                               &((const SyslogOptions *)config->options)->tls, r);
        self->format = (Format)state_get_uint(r, "format", FORMAT_LOCAL);
        self->counted = state_get_bool(r, "counted");
        self->facility = (int)state_get_int(r, "facility", 0, 23);
        log_severity_restore(&self->severity, r);
        self->host = state_get_text(r, "host");
        self->tag = state_get_text(r, "tag");
        self->msgid = state_get_text(r, "message-id");
        self->elements = state_get_text(r, "elements");
        if (self->host && self->tag && self->msgid && self->elements)
                measure_names(self);
        else
                state_fail(r, "The names for syslog are not complete");
}

const LogDriver log_driver_syslog = {
        .name = "syslog",
        .help = "a syslog server, local or remote",
        .options = {options, sizeof(SyslogOptions), {check_address, check_facility}},
        .flags = LOG_DRIVER_ANNOTATIONS | LOG_DRIVER_OWN_SOCKET | LOG_DRIVER_METADATA | LOG_DRIVER_REMOTE |
                 LOG_DRIVER_WHOLE_LINES | LOG_DRIVER_UTF8 | LOG_DRIVER_MAX_MESSAGE,
        .max_record = MESSAGE_MAX,
        .size = sizeof(Syslog),
        .format = {.encode = syslog_encode, .max_encoded_len = syslog_max_encoded_len},
        .transport = &log_connection_transport,
        .check = syslog_check,
        .open = syslog_open,
        .done = syslog_done,
        .save = syslog_save,
        .restore = syslog_restore,
};

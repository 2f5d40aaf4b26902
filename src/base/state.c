/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/state.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_MAX_LEN 31
#define DEPTH_MAX    16
#define BUFFER_SIZE  65536

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static const char magic[] = "conmonST";

/* All numbers are little-endian. The items follow: a letter, the length of the name, the name, and
 *
 *     u, i, f   8 bytes: a number, a descriptor
 *     b         8 bytes: a length, and so many bytes
 *     n         nothing: there is no text
 *     {  }      nothing: a group, its end (without a name) */
typedef struct {
        char magic[8];
        uint32_t version;
        uint32_t pid;
        uint64_t started; /* of the process: field 22 of /proc/PID/stat */
        uint64_t len;     /* of the items */
        uint64_t sum;     /* over the items */
} Header;

G_STATIC_ASSERT(sizeof(Header) == 40);

/* A checksum that detects accidents, not attacks, over words of 8 bytes, the last one padded with
 * zeros. */
static uint64_t
add_to_sum(uint64_t sum, const char *bytes, size_t len)
{
        for (size_t at = 0; at < len; at += sizeof(uint64_t)) {
                uint64_t word = 0;
                memcpy(&word, bytes + at, MIN(len - at, sizeof word));
                sum = (sum ^ GUINT64_FROM_LE(word)) * UINT64_C(0x9e3779b97f4a7c15);
                sum ^= sum >> 29;
        }
        return sum;
}

/* ---- writing ---- */

struct StateWriter {
        int fd;
        char *failure;
        unsigned depth;
        GArray *fds;
        uint64_t len;
        uint64_t sum;
        size_t fill;
        char buffer[BUFFER_SIZE];
};

StateWriter *
state_writer_new(GError **error)
{
        const Header later = {0};
        autofd int fd = memfd_create("conmon-state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        int r = fd < 0 ? -errno : fd_write_all(fd, &later, sizeof later);
        if (r < 0) {
                error_set_errno(error, r, "Failed to create a memory file for the state");
                return NULL;
        }
        StateWriter *w = g_new0(StateWriter, 1);
        w->fd = fd_steal(&fd);
        w->fds = g_array_new(FALSE, FALSE, sizeof(int));
        return w;
}

void
state_writer_free(StateWriter *w)
{
        if (!w)
                return;
        fd_close(&w->fd);
        g_array_unref(w->fds);
        g_free(w->failure);
        g_free(w);
}

void
state_refuse(StateWriter *w, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        if (!w->failure)
                w->failure = g_strdup_vprintf(format, args);
        va_end(args);
}

static void
flush(StateWriter *w)
{
        int r = w->failure ? 0 : fd_write_all(w->fd, w->buffer, w->fill);
        if (r < 0)
                state_refuse(w, "Failed to write the state: %s", g_strerror(-r));
        w->sum = add_to_sum(w->sum, w->buffer, w->fill);
        w->len += w->fill;
        w->fill = 0;
}

static void
put(StateWriter *w, const void *bytes, size_t len)
{
        for (const char *at = bytes; len > 0 && !w->failure;) {
                size_t piece = MIN(len, BUFFER_SIZE - w->fill);
                memcpy(w->buffer + w->fill, at, piece);
                w->fill += piece;
                at += piece;
                len -= piece;
                if (w->fill == BUFFER_SIZE)
                        flush(w);
        }
}

static void
put_head(StateWriter *w, char kind, const char *name)
{
        size_t len = strlen(name);
        char head[2] = {kind, (char)len};
        g_assert(len <= NAME_MAX_LEN);
        put(w, head, sizeof head);
        put(w, name, len);
}

static void
put_number(StateWriter *w, char kind, const char *name, uint64_t value)
{
        uint64_t word = GUINT64_TO_LE(value);
        put_head(w, kind, name);
        put(w, &word, sizeof word);
}

void
state_put_uint(StateWriter *w, const char *name, uint64_t value)
{
        put_number(w, 'u', name, value);
}

void
state_put_int(StateWriter *w, const char *name, int64_t value)
{
        put_number(w, 'i', name, (uint64_t)value);
}

void
state_put_bytes(StateWriter *w, const char *name, const void *bytes, size_t len)
{
        put_number(w, 'b', name, len);
        put(w, bytes, len);
}

void
state_put_text(StateWriter *w, const char *name, const char *text)
{
        if (text)
                state_put_bytes(w, name, text, strlen(text));
        else
                put_head(w, 'n', name);
}

void
state_put_string(StateWriter *w, const char *name, const GString *s)
{
        state_put_bytes(w, name, s ? s->str : "", s ? s->len : 0);
}

void
state_put_texts(StateWriter *w, const char *name, char *const *texts)
{
        state_begin(w, name);
        for (; texts && *texts; texts++)
                state_put_text(w, "text", *texts);
        state_end(w);
}

void
state_put_fd(StateWriter *w, const char *name, int fd)
{
        put_number(w, 'f', name, (uint64_t)(int64_t)MAX(fd, -1));
        if (fd >= 0)
                g_array_append_val(w->fds, fd);
}

void
state_begin(StateWriter *w, const char *name)
{
        g_assert(++w->depth <= DEPTH_MAX);
        put_head(w, '{', name);
}

void
state_end(StateWriter *w)
{
        g_assert(w->depth-- > 0);
        put_head(w, '}', "");
}

gboolean
state_writer_finish(StateWriter *w, GError **error)
{
        flush(w);
        Header h = {
                .version = GUINT32_TO_LE(STATE_VERSION),
                .pid = GUINT32_TO_LE((uint32_t)getpid()),
                .started = GUINT64_TO_LE(process_started(getpid())),
                .len = GUINT64_TO_LE(w->len),
                .sum = GUINT64_TO_LE(w->sum),
        };
        memcpy(h.magic, magic, sizeof h.magic);
        if (!w->failure &&
            (pwrite(w->fd, &h, sizeof h, 0) != (ssize_t)sizeof h || fcntl(w->fd, F_ADD_SEALS, SEALS) < 0))
                state_refuse(w, "Failed to write the state: %s", g_strerror(errno));
        return !w->failure || error_set(error, CONMON_ERROR_FAILED, "%s", w->failure);
}

int
state_writer_fd(const StateWriter *w)
{
        return w->fd;
}

const GArray *
state_writer_fds(const StateWriter *w)
{
        return w->fds;
}

/* ---- reading ---- */

struct StateReader {
        char *map; /* NULL: the memory belongs to the caller */
        size_t map_len;
        const char *at, *end; /* the rest */
        unsigned version;
        unsigned depth;
        bool check;
        char *failure;
        GArray *fds; /* those that the caller has taken */
};

static gboolean
open_items(StateReader *r, const char *bytes, size_t len, pid_t pid, GError **error)
{
        Header h = {0};
        if (len >= sizeof h)
                memcpy(&h, bytes, sizeof h);
        r->version = GUINT32_FROM_LE(h.version);
        r->at = bytes + sizeof h;
        r->end = bytes + len;
        if (memcmp(h.magic, magic, sizeof h.magic) != 0 || r->version == 0)
                return error_set(error, CONMON_ERROR_FAILED, "This is not the state of a monitor");
        if (r->version > STATE_VERSION)
                return error_set(
                        error, CONMON_ERROR_FAILED,
                        "The state has version %u, but this program knows only up to version %d: it is older",
                        r->version, STATE_VERSION);
        if (pid > 0 &&
            (GUINT32_FROM_LE(h.pid) != (uint32_t)pid || GUINT64_FROM_LE(h.started) != process_started(pid)))
                return error_set(error, CONMON_ERROR_FAILED, "The state is that of another process");
        if (GUINT64_FROM_LE(h.len) != len - sizeof h ||
            GUINT64_FROM_LE(h.sum) != add_to_sum(0, r->at, len - sizeof h))
                return error_set(error, CONMON_ERROR_FAILED, "The state is damaged");
        return TRUE;
}

static StateReader *
reader_new(bool check)
{
        StateReader *r = g_new0(StateReader, 1);
        r->check = check;
        r->fds = g_array_new(FALSE, FALSE, sizeof(int));
        return r;
}

StateReader *
state_reader_new(int fd, bool check, GError **error)
{
        struct stat st;
        int seals = fcntl(fd, F_GET_SEALS);
        if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0 ||
            st.st_size < (off_t)sizeof(Header)) {
                error_set(error, CONMON_ERROR_FAILED, "Descriptor %d is not a sealed memory file", fd);
                return NULL;
        }
        g_autoptr(StateReader) r = reader_new(check);
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) {
                error_set_errno(error, errno, "Failed to map the state");
                return NULL;
        }
        r->map = map;
        r->map_len = (size_t)st.st_size;
        return open_items(r, map, r->map_len, check ? getppid() : getpid(), error) ? g_steal_pointer(&r)
                                                                                   : NULL;
}

StateReader *
state_reader_new_of(const void *bytes, size_t len, GError **error)
{
        g_autoptr(StateReader) r = reader_new(true);
        return open_items(r, bytes, len, 0, error) ? g_steal_pointer(&r) : NULL;
}

void
state_reader_free(StateReader *r)
{
        if (!r)
                return;
        if (r->map)
                (void)munmap(r->map, r->map_len);
        g_array_unref(r->fds);
        g_free(r->failure);
        g_free(r);
}

unsigned
state_version(const StateReader *r)
{
        return r->version;
}

bool
state_failed(const StateReader *r)
{
        return r->failure != NULL;
}

void
state_fail(StateReader *r, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        if (!r->failure)
                r->failure = g_strdup_vprintf(format, args);
        va_end(args);
        /* It may quote invalid data, but has to be one line of text. */
        for (char *c = r->failure; *c; c++)
                if (*c < ' ' || *c > '~')
                        *c = '?';
        r->at = r->end;
}

gboolean
state_reader_finish(StateReader *r, GError **error)
{
        if (!r->failure && (r->at != r->end || r->depth > 0))
                state_fail(r, "The state has data that this program does not know");
        return !r->failure || error_set(error, CONMON_ERROR_FAILED, "%s", r->failure);
}

static size_t
left(const StateReader *r)
{
        return (size_t)(r->end - r->at);
}

static bool
is_next(const StateReader *r, char kind, const char *name)
{
        size_t len = strlen(name);
        return left(r) >= 2 + len && r->at[0] == kind && r->at[1] == (char)len &&
               memcmp(r->at + 2, name, len) == 0;
}

/* Skips the letter and the name, which must be these. */
static bool
take_head(StateReader *r, char kind, const char *name)
{
        if (is_next(r, kind, name)) {
                r->at += 2 + strlen(name);
                return true;
        }
        int found = left(r) < 2 ? 0 : MIN(r->at[1], NAME_MAX_LEN);
        state_fail(r, "The state has no '%s' where it is expected, but '%.*s'", name,
                   (size_t)MAX(found, 0) + 2 <= left(r) ? MAX(found, 0) : 0, r->at + 2);
        return false;
}

static uint64_t
take_number(StateReader *r, char kind, const char *name)
{
        uint64_t word = 0;
        if (!take_head(r, kind, name))
                return 0;
        if (left(r) < sizeof word) {
                state_fail(r, "The state ends within '%s'", name);
                return 0;
        }
        memcpy(&word, r->at, sizeof word);
        r->at += sizeof word;
        return GUINT64_FROM_LE(word);
}

uint64_t
state_get_uint(StateReader *r, const char *name, uint64_t max)
{
        uint64_t value = take_number(r, 'u', name);
        if (value <= max)
                return value;
        state_fail(r, "'%s' can't be %" G_GUINT64_FORMAT, name, value);
        return 0;
}

int64_t
state_get_int(StateReader *r, const char *name, int64_t min, int64_t max)
{
        int64_t value = (int64_t)take_number(r, 'i', name);
        if (state_failed(r) || (value >= min && value <= max))
                return value;
        state_fail(r, "'%s' can't be %" G_GINT64_FORMAT, name, value);
        return 0;
}

bool
state_get_bool(StateReader *r, const char *name)
{
        return state_get_uint(r, name, 1) != 0;
}

const char *
state_get_bytes(StateReader *r, const char *name, size_t *ret_len)
{
        uint64_t len = take_number(r, 'b', name);
        *ret_len = 0;
        if (len > left(r))
                state_fail(r, "The state ends within '%s'", name);
        if (state_failed(r))
                return "";
        const char *bytes = r->at;
        r->at += len;
        *ret_len = (size_t)len;
        return bytes;
}

char *
state_get_text(StateReader *r, const char *name)
{
        size_t len = 0;
        if (is_next(r, 'n', name)) {
                (void)take_head(r, 'n', name);
                return NULL;
        }
        const char *bytes = state_get_bytes(r, name, &len);
        if (memchr(bytes, '\0', len))
                state_fail(r, "'%s' is not a text", name);
        return state_failed(r) ? NULL : g_strndup(bytes, len);
}

char **
state_get_texts(StateReader *r, const char *name)
{
        GPtrArray *texts = g_ptr_array_new();
        state_enter(r, name);
        while (is_next(r, 'b', "text"))
                g_ptr_array_add(texts, state_get_text(r, "text"));
        state_leave(r);
        g_ptr_array_add(texts, NULL);
        return (char **)g_ptr_array_free(texts, FALSE);
}

GString *
state_get_string(StateReader *r, const char *name)
{
        size_t len = 0;
        const char *bytes = state_get_bytes(r, name, &len);
        return g_string_new_len(bytes, (gssize)len);
}

GString *
state_get_string_or_null(StateReader *r, const char *name)
{
        size_t len = 0;
        const char *bytes = state_get_bytes(r, name, &len);
        return len > 0 ? g_string_new_len(bytes, (gssize)len) : NULL;
}

/* The number must be that of an open descriptor that was not taken before. */
static bool
can_take(const StateReader *r, int fd)
{
        for (guint i = 0; i < r->fds->len; i++)
                if (g_array_index(r->fds, int, i) == fd)
                        return false;
        return fd_set_cloexec(fd, true) == 0;
}

int
state_get_fd(StateReader *r, const char *name)
{
        int64_t value = (int64_t)take_number(r, 'f', name);
        if (state_failed(r) || value == -1)
                return -1;
        if (value < 0 || value > INT32_MAX) {
                state_fail(r, "'%s' is not a descriptor", name);
                return -1;
        }
        if (r->check)
                return -1;
        int fd = (int)value;
        if (!can_take(r, fd)) {
                state_fail(r, "Descriptor %d, '%s', is not open", fd, name);
                return -1;
        }
        g_array_append_val(r->fds, fd);
        return fd;
}

void
state_enter(StateReader *r, const char *name)
{
        if (take_head(r, '{', name) && ++r->depth > DEPTH_MAX)
                state_fail(r, "The state is nested too deeply");
}

bool
state_enter_next(StateReader *r, const char *name)
{
        if (!is_next(r, '{', name))
                return false;
        state_enter(r, name);
        return !state_failed(r);
}

void
state_leave(StateReader *r)
{
        if (take_head(r, '}', ""))
                r->depth--;
}

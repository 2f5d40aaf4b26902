/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/exit_queue.h"

#include "base/diag.h"
#include "base/heap.h"
#include "base/watch.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Further ones wait in their own monitors. */
#define WAITING_MAX       20000
#define PATTERN_BYTES_MAX (1 << 20)

/* Equal bytes between two differences that are stored rather than skipped: as many as it takes to say where a
 * difference is. */
#define GAP 4

/* A lack of memory or pids may be temporary. */
#define TRY_AGAIN_USEC (100 * 1000)
#define TRIES          50

/* How many commands run at a time when the container has ended. */
#define AT_A_TIME 4

/* The words of the first command of a kind. */
typedef struct Pattern {
        guint users;
        size_t len;
        char words[];
} Pattern;

/* Where a command's words differ from those of its pattern; `len` bytes follow. */
typedef struct Difference {
        guint16 at;
        guint16 len;
} Difference;

typedef struct Waiting {
        gint64 due_usec;
        Pattern *pattern;
        size_t len; /* of `differences` */
        guint8 differences[];
} Waiting;

struct ExitQueue {
        const sigset_t *mask;
        const OomScore *score;
        GPtrArray *patterns;
        size_t pattern_bytes;
        GPtrArray *waiting; /* sorted by time, the latest first */
        GArray *running;    /* of pid_t */
        Timer timer;
        int failures; /* one after the other */
};

/* ---- words ---- */

static void
add_word(GByteArray *words, const char *word)
{
        g_byte_array_append(words, (const guint8 *)word, (guint)strlen(word) + 1);
}

GByteArray *
exit_words_new(const ExitCommand *c)
{
        GByteArray *words = g_byte_array_new();
        g_autofree char *directory = g_get_current_dir();
        char number[16];
        (void)g_snprintf(number, sizeof number, "%u", 1 + (c->args ? g_strv_length(c->args) : 0));
        add_word(words, access(directory, F_OK) == 0 ? directory : "");
        add_word(words, number);
        add_word(words, c->path);
        for (char **arg = c->args; arg && *arg; arg++)
                add_word(words, *arg);
        for (char **variable = environ; *variable; variable++)
                add_word(words, *variable);
        return words;
}

/* Sets *ret_argc and returns pointers to the words, or NULL if they are not well formed. The caller unrefs
 * the array. */
static GPtrArray *
split_words(const char *words, size_t len, size_t *ret_argc)
{
        if (len == 0 || words[len - 1] != '\0')
                return NULL;
        g_autoptr(GPtrArray) list = g_ptr_array_new();
        for (const char *at = words; at < words + len; at += strlen(at) + 1)
                g_ptr_array_add(list, (gpointer)at);
        guint64 argc = 0;
        if (list->len < 3 || !g_ascii_string_to_unsigned(list->pdata[1], 10, 1, list->len - 2, &argc, NULL))
                return NULL;
        *ret_argc = (size_t)argc;
        return g_steal_pointer(&list);
}

/* ---- what is kept of them ---- */

static GByteArray *
compare(const Pattern *p, const char *words)
{
        GByteArray *result = g_byte_array_new();
        for (size_t i = 0; i < p->len; i++) {
                if (words[i] == p->words[i])
                        continue;
                size_t end = i + 1;
                for (size_t j = end; j < p->len && j < end + GAP; j++)
                        if (words[j] != p->words[j])
                                end = j + 1;
                Difference d = {(guint16)i, (guint16)(end - i)};
                g_byte_array_append(result, (const guint8 *)&d, sizeof d);
                g_byte_array_append(result, (const guint8 *)words + i, d.len);
                i = end;
        }
        return result;
}

/* Returns the words, pattern->len bytes, which the caller frees. */
static char *
restore(const Waiting *w)
{
        char *words = g_malloc(w->pattern->len);
        Difference d;
        memcpy(words, w->pattern->words, w->pattern->len);
        for (size_t i = 0; i < w->len; i += sizeof d + d.len) {
                memcpy(&d, w->differences + i, sizeof d);
                memcpy(words + d.at, w->differences + i + sizeof d, d.len);
        }
        return words;
}

/* Returns a pattern that has at least half of the words, or NULL, and the differences. */
static Pattern *
find_pattern(const ExitQueue *q, const char *words, size_t len, GByteArray **ret_differences)
{
        for (guint i = q->patterns->len; i-- > 0;) {
                Pattern *p = q->patterns->pdata[i];
                if (p->len != len)
                        continue;
                GByteArray *differences = compare(p, words);
                if (differences->len <= len / 2) {
                        *ret_differences = differences;
                        return p;
                }
                g_byte_array_unref(differences);
        }
        return NULL;
}

static Pattern *
add_pattern(ExitQueue *q, const char *words, size_t len)
{
        Pattern *p = g_malloc(sizeof *p + len);
        p->users = 0;
        p->len = len;
        memcpy(p->words, words, len);
        g_ptr_array_add(q->patterns, p);
        q->pattern_bytes += len;
        return p;
}

/* Removes the next one. */
static void
remove_next(ExitQueue *q)
{
        Waiting *w = q->waiting->pdata[q->waiting->len - 1];
        Pattern *p = w->pattern;
        g_ptr_array_set_size(q->waiting, (gint)q->waiting->len - 1);
        g_free(w);
        if (--p->users > 0)
                return;
        q->pattern_bytes -= p->len;
        g_ptr_array_remove_fast(q->patterns, p);
        g_free(p);
}

/* ---- running ---- */

static void
report(const char *program, int error)
{
        diag_error("Failed to start the exit command %s of an exec session: %s", program, strerror(error));
}

/* Returns 0 or -errno if there is no process. */
static int
start(ExitQueue *q, const Waiting *w)
{
        g_autofree char *words = restore(w);
        size_t argc = 0;
        g_autoptr(GPtrArray) list = split_words(words, w->pattern->len, &argc);
        g_ptr_array_insert(list, (gint)(2 + argc), NULL);
        g_ptr_array_add(list, NULL);
        char **word = (char **)list->pdata;
        pid_t pid = exit_command_start(
                &(ExitCommand){
                        .path = word[2],
                        .args = word + 3,
                        .environment = word + 3 + argc,
                        .directory = *word[0] ? word[0] : NULL,
                        .mask = q->mask,
                        .score = q->score,
                },
                NULL);
        if (pid < 0 && ++q->failures < TRIES)
                return pid;
        q->failures = 0;
        if (pid < 0)
                report(word[2], -pid);
        else
                g_array_append_val(q->running, pid);
        return 0;
}

/* Starts the next one. Returns 0, or -errno if that must be retried. */
static int
start_next(ExitQueue *q)
{
        int r = start(q, q->waiting->pdata[q->waiting->len - 1]);
        if (r == 0)
                remove_next(q);
        return r;
}

static void
set_timer(ExitQueue *q)
{
        if (q->waiting->len == 0) {
                timer_stop(&q->timer);
                return;
        }
        const Waiting *w = q->waiting->pdata[q->waiting->len - 1];
        timer_start(&q->timer, MAX(w->due_usec - g_get_monotonic_time(), 0));
}

static void
on_due(void *data)
{
        ExitQueue *q = data;
        gint64 now = g_get_monotonic_time();
        while (q->waiting->len > 0) {
                const Waiting *w = q->waiting->pdata[q->waiting->len - 1];
                if (w->due_usec > now)
                        break;
                if (start_next(q) < 0) {
                        timer_start(&q->timer, TRY_AGAIN_USEC);
                        return;
                }
        }
        if (q->waiting->len == 0)
                heap_trim();
        set_timer(q);
}

/* ---- the queue ---- */

ExitQueue *
exit_queue_new(const sigset_t *mask, const OomScore *score)
{
        ExitQueue *q = g_new0(ExitQueue, 1);
        q->mask = mask;
        q->score = score;
        q->patterns = g_ptr_array_new();
        q->waiting = g_ptr_array_new();
        q->running = g_array_new(FALSE, FALSE, sizeof(pid_t));
        timer_init(&q->timer, on_due, q);
        return q;
}

bool
exit_queue_accepts(const ExitQueue *q, const char *words, size_t len)
{
        size_t argc = 0;
        if (q->waiting->len >= WAITING_MAX || len > G_MAXUINT16 || q->pattern_bytes + len > PATTERN_BYTES_MAX)
                return false;
        g_autoptr(GPtrArray) list = split_words(words, len, &argc);
        return list != NULL;
}

void
exit_queue_add(ExitQueue *q, const char *words, size_t len, gint64 due_usec)
{
        g_autoptr(GByteArray) differences = NULL;
        Pattern *p = find_pattern(q, words, len, &differences);
        if (!p)
                p = add_pattern(q, words, len);
        size_t n = differences ? differences->len : 0;
        Waiting *w = g_malloc(sizeof *w + n);
        w->due_usec = due_usec;
        w->pattern = p;
        w->len = n;
        if (n > 0)
                memcpy(w->differences, differences->data, n);
        p->users++;
        guint at = 0;
        while (at < q->waiting->len && ((Waiting *)q->waiting->pdata[at])->due_usec > due_usec)
                at++;
        g_ptr_array_insert(q->waiting, (gint)at, w);
        set_timer(q);
}

bool
exit_queue_on_child_end(ExitQueue *q, pid_t pid, int status)
{
        for (guint i = 0; q && i < q->running->len; i++) {
                if (g_array_index(q->running, pid_t, i) != pid)
                        continue;
                g_array_remove_index_fast(q->running, i);
                exit_command_report("of an exec session", status);
                return true;
        }
        return false;
}

void
exit_queue_lose_children(ExitQueue *q)
{
        if (q)
                g_array_set_size(q->running, 0);
}

/* Returns false if there are no children at all. */
static bool
reap(ExitQueue *q)
{
        int status = 0;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                (void)exit_queue_on_child_end(q, pid, status);
        return pid == 0;
}

void
exit_queue_flush(ExitQueue *q, gint64 usec)
{
        gint64 end = g_get_monotonic_time() + usec;
        sigset_t child;
        (void)sigemptyset(&child);
        (void)sigaddset(&child, SIGCHLD);
        while (q && (q->waiting->len > 0 || q->running->len > 0)) {
                while (q->waiting->len > 0 && q->running->len < AT_A_TIME)
                        if (start_next(q) < 0)
                                break;
                gint64 left = end - g_get_monotonic_time();
                if (left <= 0)
                        return;
                struct timespec t = {.tv_nsec = MIN(left, TRY_AGAIN_USEC) * 1000};
                (void)sigtimedwait(&child, NULL, &t);
                if (!reap(q))
                        exit_queue_lose_children(q);
        }
}

void
exit_queue_each(const ExitQueue *q, void (*func)(const char *words, size_t len, gint64 due_usec, void *data),
                void *data)
{
        for (guint i = 0; i < q->waiting->len; i++) {
                const Waiting *w = q->waiting->pdata[i];
                g_autofree char *words = restore(w);
                func(words, w->pattern->len, w->due_usec, data);
        }
}

static void
save_words(const char *words, size_t len, gint64 due_usec, void *data)
{
        StateWriter *w = data;
        state_begin(w, "waiting");
        state_put_bytes(w, "words", words, len);
        state_put_int(w, "due", due_usec);
        state_end(w);
}

void
exit_queue_save(const ExitQueue *q, StateWriter *w)
{
        exit_queue_each(q, save_words, w);
        for (guint i = 0; i < q->running->len; i++) {
                state_begin(w, "running");
                state_put_uint(w, "pid", (uint64_t)g_array_index(q->running, pid_t, i));
                state_end(w);
        }
}

void
exit_queue_restore(ExitQueue *q, StateReader *r)
{
        while (state_enter_next(r, "waiting")) {
                size_t len = 0;
                const char *words = state_get_bytes(r, "words", &len);
                gint64 due = state_get_int(r, "due", 0, INT64_MAX);
                state_leave(r);
                if (exit_queue_accepts(q, words, len))
                        exit_queue_add(q, words, len, due);
                else
                        state_fail(r, "The exit command of an exec session can't be taken");
        }
        while (state_enter_next(r, "running")) {
                pid_t pid = (pid_t)state_get_uint(r, "pid", INT32_MAX);
                state_leave(r);
                if (pid < 2)
                        state_fail(r, "An exit command can't be process %d", (int)pid);
                else
                        g_array_append_val(q->running, pid);
        }
}

void
exit_queue_start_all(ExitQueue *q)
{
        while (q && q->waiting->len > 0)
                if (start_next(q) < 0)
                        g_usleep(TRY_AGAIN_USEC);
}

void
exit_queue_free(ExitQueue *q)
{
        if (!q)
                return;
        timer_stop(&q->timer);
        while (q->waiting->len > 0)
                remove_next(q);
        g_ptr_array_unref(q->patterns);
        g_ptr_array_unref(q->waiting);
        g_array_unref(q->running);
        g_free(q);
}

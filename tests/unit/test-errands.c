/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/errands.h"

#include "tempdir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Long enough to notice an unintended wait. */
#define FOREVER_USEC (60 * G_USEC_PER_SEC)
#define BUDGET_USEC  (2 * G_USEC_PER_SEC)

/* A fake disk that stalls until it is released, and the steps that it has executed. */
typedef struct {
        GMutex lock;
        GCond changed;
        gboolean stalled;
        GString *done;
} Disk;

typedef struct {
        Disk *disk;
        char name;
        gboolean stalls;
} Job;

static void
disk_init(Disk *d)
{
        g_mutex_init(&d->lock);
        g_cond_init(&d->changed);
        d->stalled = TRUE;
        d->done = g_string_new(NULL);
}

static void
disk_thaw(Disk *d)
{
        g_mutex_lock(&d->lock);
        d->stalled = FALSE;
        g_cond_broadcast(&d->changed);
        g_mutex_unlock(&d->lock);
}

static void
disk_done(Disk *d)
{
        g_mutex_clear(&d->lock);
        g_cond_clear(&d->changed);
        g_string_free(d->done, TRUE);
}

static void
work(void *data)
{
        Job *job = data;
        g_mutex_lock(&job->disk->lock);
        while (job->stalls && job->disk->stalled)
                g_cond_wait(&job->disk->changed, &job->disk->lock);
        g_string_append_c(job->disk->done, job->name);
        g_mutex_unlock(&job->disk->lock);
        g_free(job);
}

/* Capital letters stall. */
static void
add(Errands *e, Disk *disk, const char *names)
{
        for (; *names; names++) {
                Job *job = g_new0(Job, 1);
                *job = (Job){disk, *names, g_ascii_isupper(*names)};
                errands_add(e, work, job, "disk");
        }
}

static void
assert_done(Disk *disk, const char *names)
{
        g_mutex_lock(&disk->lock);
        g_assert_cmpstr(disk->done->str, ==, names);
        g_mutex_unlock(&disk->lock);
}

static void
test_order(void)
{
        Disk disk;
        disk_init(&disk);
        Errands *e = errands_new();
        errands_grant(e, FOREVER_USEC);
        add(e, &disk, "abc");
        errands_run(e);
        assert_done(&disk, "abc");
        add(e, &disk, "d");
        errands_run(e);
        assert_done(&disk, "abcd");
        g_assert_cmpuint(errands_pending(e), ==, 0);
        g_assert_cmpint(errands_budget(e), >, FOREVER_USEC / 2);
        errands_grant(e, FOREVER_USEC);
        add(e, &disk, "e");
        errands_run(e);
        assert_done(&disk, "abcde");
        errands_free(e);
        disk_done(&disk);
}

static void
note_thread(void *data)
{
        *(GThread **)data = g_thread_self();
}

/* A thread is used only for steps that could stall. */
static void
test_in_memory(void)
{
        GThread *a = NULL, *b = NULL, *c = NULL;
        Errands *e = errands_new();
        errands_learn(e, "/dev/shm");
        errands_learn(e, "/proc");
        errands_learn(e, "/no/such/directory");
        errands_learn(e, NULL);
        errands_grant(e, FOREVER_USEC);
        errands_add(e, note_thread, &a, NULL);
        errands_add(e, note_thread, &b, "/proc/x");
        errands_run(e);
        errands_add(e, note_thread, &c, "/dev/shm/x");
        errands_run(e);
        g_assert_true(a == g_thread_self());
        g_assert_true(b && b != g_thread_self());
        struct statfs fs;
        if (statfs("/dev/shm", &fs) == 0 && fs.f_type == TMPFS_MAGIC)
                g_assert_true(c == g_thread_self());
        errands_add(e, note_thread, &c, "/dev/shm/y/x");
        errands_run(e);
        g_assert_true(c && c != g_thread_self());
        errands_free(e);
}

/* Several stalls together take no longer than the budget. */
static void
test_stalls(void)
{
        Disk disk;
        disk_init(&disk);
        Errands *e = errands_new();
        errands_grant(e, BUDGET_USEC);
        add(e, &disk, "aBcDEf");
        gint64 start = g_get_monotonic_time();
        errands_run(e);
        assert_done(&disk, "acf");
        g_assert_cmpuint(errands_pending(e), ==, 3);
        add(e, &disk, "gHi");
        errands_run(e);
        g_assert_cmpint(g_get_monotonic_time() - start, <, FOREVER_USEC / 4);
        g_assert_cmpint(errands_budget(e), <, BUDGET_USEC / 8);
        assert_done(&disk, "acfgi");
        disk_thaw(&disk);
        errands_free(e);
        g_assert_cmpuint(disk.done->len, ==, 9);
        disk_done(&disk);
}

/* When a stalled step returns, the other steps are still waited for. */
static void
test_thaw(void)
{
        Disk disk;
        disk_init(&disk);
        Errands *e = errands_new();
        errands_grant(e, BUDGET_USEC);
        add(e, &disk, "A");
        errands_run(e);
        assert_done(&disk, "");
        disk_thaw(&disk);
        errands_grant(e, FOREVER_USEC);
        add(e, &disk, "bc");
        errands_run(e);
        g_mutex_lock(&disk.lock);
        g_assert_nonnull(strchr(disk.done->str, 'b'));
        g_assert_nonnull(strchr(disk.done->str, 'c'));
        g_mutex_unlock(&disk.lock);
        errands_free(e);
        disk_done(&disk);
}

static void
free_job(void *data)
{
        Job *job = data;
        g_string_append_c(job->disk->done, '!');
        g_free(job);
}

static void
finish_job(void *data)
{
        const Job *job = data;
        g_mutex_lock(&job->disk->lock);
        while (job->stalls && job->disk->stalled)
                g_cond_wait(&job->disk->changed, &job->disk->lock);
        g_mutex_unlock(&job->disk->lock);
}

/* A result that comes too late is freed; one that comes in time belongs to the caller. */
static void
test_result(void)
{
        Disk disk;
        disk_init(&disk);
        Errands *e = errands_new();
        Job *stalls = g_new(Job, 1), *other = g_new(Job, 1);
        *stalls = (Job){&disk, 'A', TRUE};
        *other = (Job){&disk, 'b', FALSE};
        errands_grant(e, BUDGET_USEC / 8);
        g_assert_false(errands_do(e, finish_job, stalls, free_job, "disk"));
        g_assert_cmpuint(errands_pending(e), ==, 1);
        errands_grant(e, FOREVER_USEC);
        g_assert_true(errands_do(e, finish_job, other, free_job, "disk"));
        assert_done(&disk, "");
        g_free(other);
        disk_thaw(&disk);
        errands_free(e);
        assert_done(&disk, "!");
        disk_done(&disk);
}

/* Nobody writes the FIFO. */
static void
test_read_file(void)
{
        char *dir = tempdir_new();
        g_autofree char *file = g_build_filename(dir, "file", NULL);
        g_autofree char *fifo = g_build_filename(dir, "fifo", NULL);
        char *text = NULL;
        size_t len = 0;
        g_assert_true(g_file_set_contents(file, "text", -1, NULL));
        g_assert_no_errno(mkfifo(fifo, 0600));
        g_assert_cmpint(errands_read_file(NULL, file, 4, &text, &len), ==, 0);
        g_assert_cmpmem(text, len, "text", 4);
        g_clear_pointer(&text, g_free);
        Errands *e = errands_new();
        errands_grant(e, FOREVER_USEC);
        g_assert_cmpint(errands_read_file(e, file, 4, &text, &len), ==, 0);
        g_assert_cmpmem(text, len, "text", 4);
        g_clear_pointer(&text, g_free);
        g_assert_cmpint(errands_read_file(e, file, 3, &text, &len), ==, -EFBIG);
        errands_grant(e, BUDGET_USEC / 8);
        g_assert_cmpint(errands_read_file(e, fifo, 4, &text, &len), ==, -ETIMEDOUT);
        g_assert_null(text);
        int writer = open(fifo, O_WRONLY | O_CLOEXEC);
        g_assert_cmpint(writer, >=, 0);
        g_assert_cmpint(write(writer, "late", 4), ==, 4);
        (void)close(writer);
        errands_free(e);
        tempdir_remove(dir);
}

static void
test_budget(void)
{
        Errands *e = errands_new();
        errands_grant(e, BUDGET_USEC);
        errands_spend(e, BUDGET_USEC / 4);
        g_assert_cmpint(errands_budget(e), ==, BUDGET_USEC / 4 * 3);
        errands_spend(e, BUDGET_USEC);
        g_assert_cmpint(errands_budget(e), ==, 0);
        errands_free(e);
        errands_free(NULL);
}

static atomic_bool ended;

/* Runs in the thread, after the functions of the errands. */
static void
end_slowly(void *data)
{
        g_usleep(G_USEC_PER_SEC / 10);
        atomic_store(&ended, true);
}

static GPrivate last_step = G_PRIVATE_INIT(end_slowly);

static void
set_last_step(void *data)
{
        g_private_set(&last_step, data);
}

/* Nothing of the thread is left, so that the process can be copied. */
static void
test_rest(void)
{
        char *data = g_strdup("any");
        Errands *e = errands_new();
        errands_grant(e, FOREVER_USEC);
        g_assert_true(errands_do(e, set_last_step, data, g_free, "disk"));
        errands_rest(e);
        g_assert_true(atomic_load(&ended));
        errands_rest(NULL);
        errands_free(e);
        g_free(data);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/errands/order", test_order);
        g_test_add_func("/errands/in-memory", test_in_memory);
        g_test_add_func("/errands/stalls", test_stalls);
        g_test_add_func("/errands/thaw", test_thaw);
        g_test_add_func("/errands/result", test_result);
        g_test_add_func("/errands/read-file", test_read_file);
        g_test_add_func("/errands/budget", test_budget);
        g_test_add_func("/errands/rest", test_rest);
        return g_test_run();
}

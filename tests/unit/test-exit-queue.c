/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/exit_queue.h"

#include <string.h>

static ExitQueue *
new_queue(void)
{
        static sigset_t mask;
        static OomScore score;
        (void)sigemptyset(&mask);
        return exit_queue_new(&mask, &score);
}

/* Words from a text in which '|' stands for NUL. */
static char *
words_of(const char *text, size_t *ret_len)
{
        char *words = g_strdup(text);
        *ret_len = strlen(words);
        return g_strdelimit(words, "|", '\0');
}

static bool
accepts(const char *text)
{
        ExitQueue *q = new_queue();
        size_t len;
        g_autofree char *words = words_of(text, &len);
        bool ok = exit_queue_accepts(q, words, len);
        exit_queue_free(q);
        return ok;
}

static void
test_words(void)
{
        g_assert_true(accepts("|1|/bin/true|"));
        g_assert_true(accepts("/tmp|2|/bin/true||"));
        g_assert_true(accepts("|1|/bin/true|A=1|B=|"));
        g_assert_false(accepts(""));
        g_assert_false(accepts("|"));
        g_assert_false(accepts("|1|"));
        g_assert_false(accepts("|1|/bin/true"));
        g_assert_false(accepts("|0|/bin/true|"));
        g_assert_false(accepts("|2|/bin/true|"));
        g_assert_false(accepts("|-1|/bin/true|"));
        g_assert_false(accepts("|99999999999999999999|/bin/true|"));
        g_assert_false(accepts("|one|/bin/true|"));
}

static void
append(const char *words, size_t len, gint64 due_usec, void *data)
{
        GString *text = data;
        g_string_append_printf(text, "%d:", (int)due_usec);
        for (size_t i = 0; i < len; i++)
                g_string_append_c(text, words[i] ? words[i] : '|');
        g_string_append_c(text, '\n');
}

static void
add(ExitQueue *q, const char *text, gint64 due)
{
        size_t len;
        g_autofree char *words = words_of(text, &len);
        g_assert_true(exit_queue_accepts(q, words, len));
        exit_queue_add(q, words, len, due);
}

/* Commands are added in the reverse order of their due times; shared words are restored correctly. */
static void
test_what_waits(void)
{
        static const char want[] = "9:|3|/bin/podman|--exec|aaaaaaaaaaaaaaaa|A=1|\n"
                                   "8:|3|/bin/podman|--exec|xaaaaxaaaaaaaaax|A=2|\n"
                                   "7:/|1|/bin/false|\n"
                                   "7:/|1|/bin/other|\n"
                                   "5:/|1|/bin/something else|\n"
                                   "4:|3|/bin/podman|--exec|bbbbbbbbbbbbbbbb|A=1|\n";
        g_autoptr(GString) got = g_string_new(NULL);
        ExitQueue *q = new_queue();
        add(q, "/|1|/bin/something else|", 5);
        add(q, "|3|/bin/podman|--exec|aaaaaaaaaaaaaaaa|A=1|", 9);
        add(q, "|3|/bin/podman|--exec|bbbbbbbbbbbbbbbb|A=1|", 4);
        add(q, "/|1|/bin/other|", 7);
        add(q, "/|1|/bin/false|", 7);
        add(q, "|3|/bin/podman|--exec|xaaaaxaaaaaaaaax|A=2|", 8);
        exit_queue_each(q, append, got);
        g_assert_cmpstr(got->str, ==, want);
        exit_queue_free(q);
}

/* A thousand commands of different kinds take no more than the limit; then no more are taken. */
static void
test_full(void)
{
        ExitQueue *q = new_queue();
        int taken = 0;
        for (; taken < 1000; taken++) {
                g_autofree char *filler = g_strnfill(10000 + (gsize)taken, 'x');
                g_autofree char *text = g_strdup_printf("|2|/bin/true|%s|", filler);
                size_t len;
                g_autofree char *words = words_of(text, &len);
                if (!exit_queue_accepts(q, words, len))
                        break;
                exit_queue_add(q, words, len, taken);
        }
        g_assert_cmpint(taken, >, 80);
        g_assert_cmpint(taken, <, 110);
        exit_queue_free(q);
}

static void
test_own_words(void)
{
        ExitQueue *q = new_queue();
        char *args[] = {(char *)"--exec", (char *)"", NULL};
        g_autoptr(GByteArray) words = exit_words_new(&(ExitCommand){.path = "/bin/podman", .args = args});
        g_autofree char *directory = g_get_current_dir();
        g_autofree char *start = g_strdup_printf("%s|3|/bin/podman|--exec||", directory);
        size_t len;
        g_autofree char *want = words_of(start, &len);
        g_assert_cmpuint(words->len, >, len);
        g_assert_cmpmem(words->data, len, want, len);
        g_assert_true(exit_queue_accepts(q, (const char *)words->data, words->len));
        exit_queue_free(q);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/exit-queue/words", test_words);
        g_test_add_func("/exit-queue/what-waits", test_what_waits);
        g_test_add_func("/exit-queue/full", test_full);
        g_test_add_func("/exit-queue/own-words", test_own_words);
        return g_test_run();
}

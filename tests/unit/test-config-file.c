/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "config/config_file.h"
#include "config/key.h"
#include "config/search.h"
#include "tempdir.h"

#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "[title]key=a|b@LINE " for all effective settings. */
static char *
dump(const Config *c)
{
        GString *out = g_string_new(NULL);
        for (guint i = 0; i < c->sections->len; i++) {
                const ConfigSection *s = c->sections->pdata[i];
                g_string_append_printf(out, "[%s]", s->title);
                for (guint k = 0; k < s->entries->len; k++) {
                        const ConfigEntry *entry = &g_array_index(s->entries, ConfigEntry, k);
                        g_autofree char *values = g_strjoinv("|", entry->values);
                        g_string_append_printf(out, "%s=%s@%u ", entry->name, values, entry->line);
                }
        }
        return g_string_free(out, FALSE);
}

static void
assert_parsed(const char *text, size_t len, const char *content, const char *sentence)
{
        g_autoptr(Config) c = config_new();
        g_autoptr(GError) error = NULL;
        gboolean parsed = config_parse(c, "f", text, len, &error);
        g_test_message("%s", text);
        g_assert_cmpstr(error ? error->message : NULL, ==, sentence);
        g_assert_cmpint(parsed, ==, sentence == NULL);
        g_autofree char *found = dump(c);
        g_assert_cmpstr(found, ==, content);
}

static void
test_good(void)
{
        static const struct {
                const char *text, *content;
        } cases[] = {
                {"", ""},
                {"\n# c\n  # d\n", ""},
                {"[policy]\non-error = warn", "[policy]on-error=warn@2 "},
                {"[policy]\r\non-error=warn\r\n", "[policy]on-error=warn@2 "},
                {"  [policy]  \n  on-error  =  warn  \n", "[policy]on-error=warn@2 "},
                {"[profile a b]\ndriver=x;y ; z;\n", "[profile a b]driver=x|y|z@2 "},
                {"[profile   a]\ndriver=x\n", "[profile a]driver=x@2 "},
                {"[profile a]\ndriver=\n", "[profile a]driver=@2 "},
                {"[profile a]\ndriver=x\nopt.tag=\\sa\\;b\\\\\n", "[profile a]driver=x@2 opt.tag= a;b\\@3 "},
                {"[profile a]\ndriver=x\nopt.include= \\sa\\s ; b\\s;\\s;;\\t\\;\n",
                 "[profile a]driver=x@2 opt.include= a |b | |\t;@3 "},
                {"[match a]\nprofile= \\sa;b\\s \n", "[match a]profile= a;b @2 "},
                {"[profile a]\ndriver=x\nopt.tag=\n", "[profile a]driver=x@2 opt.tag=@3 "},
                {"[match *-x?]\nprofile = a\n[defaults]\ndriver=b\n",
                 "[match *-x?]profile=a@2 [defaults]driver=b@4 "},
                {"[attach]\nqueue-max = 8k\nstall-timeout = "
                 "0\n[limits]\nrotate=yes\nmax-files=3\nsize-max=1.5m",
                 "[attach]queue-max=8k@2 stall-timeout=0@3 [limits]rotate=yes@5 max-files=3@6 "
                 "size-max=1.5m@7 "},
                {"[profile a]\n[policy]\n", ""},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                assert_parsed(cases[i].text, strlen(cases[i].text), cases[i].content, NULL);
}

/* Ends of messages. */
#define SYNTAX   "this is no [section], no KEY = VALUE in a section, and no # comment"
#define SECTIONS "there are defaults, profile NAME, match GLOB, sink NAME, policy, attach, limits and health"
#define POLICY   "there are annotations, profiles, sockets, on-error, add-to-none, add-to-exec"

typedef struct {
        const char *text, *content, *sentence;
} BadCase;

/* The rest of the file is still effective. */
static void
test_bad_syntax(void)
{
        static const BadCase cases[] = {
                {"x", "", "f:1: " SYNTAX},
                {"\nx=1\n[policy]\non-error=warn\n", "[policy]on-error=warn@4 ", "f:2: " SYNTAX},
                {"[policy]\non-error=warn\n\nnonsense\n[attach]\nqueue-max=1m\n",
                 "[policy]on-error=warn@2 [attach]queue-max=1m@6 ", "f:4: " SYNTAX},
                {"[policy]\non-error=warn\n[attach\nqueue-max=1m\n", "[policy]on-error=warn@2 ",
                 "f:3: " SYNTAX},
                {"[policy]\n=1\non-error=warn\n", "[policy]on-error=warn@3 ", "f:2: " SYNTAX},
                {"[policy] # x\non-error=warn\n", "", "f:1: " SYNTAX},
                {"[match [a]\ndriver=x\n", "", "f:1: " SYNTAX},
                {"[policy]\non-error=warn\n# \xff\nadd-to-none=yes\n",
                 "[policy]on-error=warn@2 add-to-none=yes@4 ",
                 "f:3: there are bytes that are not UTF-8 text"},
                {"[foo]\nx=1\n[policy]\non-error=warn\n", "[policy]on-error=warn@4 ",
                 "f:1: there is no section [foo]; " SECTIONS},
                {"[]\n", "", "f:1: " SYNTAX},
                {"[ policy]\n", "", "f:1: there is no section [ policy]; " SECTIONS},
                {"[profile]\ndriver=x\n", "", "f:1: [profile] needs a name, as in [profile NAME]"},
                {"[match ]\ndriver=x\n", "", "f:1: [match] needs a name, as in [match NAME]"},
                {"[policy x]\non-error=warn\n", "", "f:1: [policy] takes no name (given as [policy x])"},
                {"[policy]\non-error=\\q\n", "",
                 "f:2: [policy] on-error: a backslash must be written \\\\, a blank \\s"},
                {"[match a]\nprofile=a\\;b\n", "",
                 "f:2: [match a] profile: a backslash must be written \\\\, a blank \\s"},
                {"[match a]\nprofile=a\\\n", "",
                 "f:2: [match a] profile: a backslash must be written \\\\, a blank \\s"},
                {"[profile a]\ndriver=\\q\n", "",
                 "f:2: [profile a] driver: a backslash must be written \\\\, a blank \\s, a semicolon \\;"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                assert_parsed(cases[i].text, strlen(cases[i].text), cases[i].content, cases[i].sentence);
        assert_parsed("[policy]\n\0\n", 11, "", "f:2: there are bytes that are not UTF-8 text");
}

static void
test_bad_settings(void)
{
        static const BadCase cases[] = {
                {"[policy]\nfoo=1\non-error=warn\n[attach]\nqueue-max=1m\n",
                 "[policy]on-error=warn@3 [attach]queue-max=1m@5 ",
                 "f:2: [policy] foo: there is no such key; " POLICY},
                {"[profile a]\nopt.=1\n", "",
                 "f:2: [profile a] opt.: there is no such key; there are driver, sinks, opt.KEY"},
                {"[policy]\non-error=maybe\n", "",
                 "f:2: [policy] on-error: it can't be 'maybe'; allowed: fail, warn"},
                {"[policy]\nadd-to-none=on\n", "",
                 "f:2: [policy] add-to-none: it can't be 'on'; allowed: true or false"},
                {"[attach]\nqueue-max=8191\n", "",
                 "f:2: [attach] queue-max: it can't be '8191'; allowed: a size such as "
                 "100k, 10m or 1g, from 8k to 1g"},
                {"[attach]\nstall-timeout=5\n", "",
                 "f:2: [attach] stall-timeout: it can't be '5'; allowed: a duration such as 500ms, 2s or "
                 "1h30m"},
                {"[limits]\nmax-files=0\n", "",
                 "f:2: [limits] max-files: it can't be '0'; allowed: a whole number, from 1 to 10000"},
                {"[match a]\nprofile=\n", "", "f:2: [match a] profile: it can't be empty"},
                {"[defaults]\ndriver=a\nprofile=b\n", "[defaults]driver=a@2 profile=b@3 ",
                 "f:1: [defaults]: it names a profile and a driver; it can have one of them"},
                {"[limits]\nmax-files=2\nsize-max=1m\n", "[limits]max-files=2@2 size-max=1m@3 ",
                 "f:1: [limits]: max-files has no effect without rotate = true"},
                {"[limits]\nmax-files=2\nrotate=no\n", "[limits]max-files=2@2 rotate=no@3 ",
                 "f:1: [limits]: max-files has no effect without rotate = true"},
                {"[defaults]\nopt.tag=b\n", "[defaults]opt.tag=b@2 ",
                 "f:1: [defaults]: it has options but names no driver"},
                {"[policy]\non-error=fail\non-error=warn\n", "[policy]on-error=fail@2 ",
                 "f:3: [policy] on-error: duplicate key; several values are separated by semicolons"},
                {"[policy]\non-error=warn\n[policy]\nadd-to-none=1\n", "[policy]on-error=warn@2 ",
                 "f:3: duplicate section [policy]"},
                {"[profile a]\ndriver=x\n[profile  a]\ndriver=y\n", "[profile a]driver=x@2 ",
                 "f:3: duplicate section [profile a]"},
                {"[policy]\nfoo=1\n[bar]\n", "", "f:2: [policy] foo: there is no such key; " POLICY},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                assert_parsed(cases[i].text, strlen(cases[i].text), cases[i].content, cases[i].sentence);
}

/* The first of many invalid lines is reported. */
static void
test_line_numbers(void)
{
        for (unsigned lines = 1; lines < 70; lines += 3) {
                g_autoptr(GString) text = g_string_new("[profile a]\n");
                for (unsigned i = 2; i < lines; i++)
                        g_string_append_printf(text, "opt.x%u=1\n", i);
                g_string_append(text, "bad\n[also bad\n");
                g_autofree char *sentence = g_strdup_printf("f:%u: this is no [section]", MAX(2, lines));
                g_autoptr(Config) c = config_new();
                g_autoptr(GError) error = NULL;
                g_assert_false(config_parse(c, "f", text->str, text->len, &error));
                g_assert_true(g_str_has_prefix(error->message, sentence));
        }
}

static void
parse_ok(Config *c, const char *file, const char *text)
{
        g_autoptr(GError) error = NULL;
        (void)config_parse(c, file, text, strlen(text), &error);
        g_assert_no_error(error);
}

static void
test_sections_replace(void)
{
        g_autoptr(Config) c = config_new();
        parse_ok(c, "vendor",
                 "[policy]\non-error=warn\nadd-to-none=1\n[profile a]\ndriver=x\nopt.k=1\n[profile "
                 "b]\ndriver=y\n");
        parse_ok(c, "admin", "[policy]\nannotations=none\n[profile a]\ndriver=z\n");
        g_autofree char *both = dump(c);
        g_assert_cmpstr(both, ==, "[profile b]driver=y@8 [policy]annotations=none@2 [profile a]driver=z@4 ");
        parse_ok(c, "user", "[profile a]\n");
        g_assert_null(config_find(c, "profile", "a"));
        g_assert_nonnull(config_find(c, "profile", "b"));
        const ConfigSection *policy = config_find(c, "policy", "");
        g_autofree char *origin = config_origin(policy, config_entry(policy, "annotations"));
        g_autofree char *title = config_origin(policy, NULL);
        g_assert_cmpstr(origin, ==, "admin:2: [policy] annotations");
        g_assert_cmpstr(title, ==, "admin:1: [policy]");
        g_assert_null(config_entry(policy, "on-error"));
        g_assert_null(config_entry(NULL, "on-error"));
        g_assert_null(config_find(NULL, "policy", ""));
}

static void
test_match(void)
{
        static const struct {
                const char *name, *glob;
        } cases[] = {
                {"web-1", "web-?"}, {"web-10", "web-*"}, {"db", "*"}, {"", "*"}, {"\xff", "*"}, {"a*b", "*"},
        };
        g_autoptr(Config) c = config_new();
        parse_ok(c, "f", "[match *]\ndriver=a\n[match web-*]\ndriver=b\n[match web-?]\ndriver=c\n");
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                const ConfigSection *s = config_match(c, cases[i].name);
                g_assert_nonnull(s);
                g_assert_cmpstr(s->name, ==, cases[i].glob);
        }
        g_autoptr(Config) empty = config_new();
        g_assert_null(config_match(empty, "x"));
        g_assert_null(config_match(NULL, "x"));
}

static void
assert_trust(const char *dir, mode_t mode, const char *part)
{
        g_autoptr(Config) c = config_new();
        g_autoptr(GError) error = NULL;
        g_autofree char *path = g_build_filename(dir, "f.conf", NULL);
        g_assert_cmpint(chmod(path, mode), ==, 0);
        g_assert_cmpint(config_read(c, path, false, &error), ==, part == NULL);
        if (part)
                g_assert_nonnull(strstr(error->message, part));
}

static void
test_trust(void)
{
        char *dir = tempdir_new();
        g_autofree char *path = g_build_filename(dir, "f.conf", NULL);
        tempdir_put(dir, "f.conf", "[policy]\non-error=warn\n");
        assert_trust(dir, 0644, NULL);
        assert_trust(dir, 0600, NULL);
        assert_trust(dir, 0646, "everybody may write to it");
        assert_trust(dir, 0666, "everybody may write to it");
        if (geteuid() == 0) {
                assert_trust(dir, 0664, NULL);
                g_assert_cmpint(chown(path, 0, 12), ==, 0);
                assert_trust(dir, 0644, NULL);
                assert_trust(dir, 0664, "its group may write to it");
                g_assert_cmpint(chown(path, 12, 12), ==, 0);
                assert_trust(dir, 0644, "it belongs to another user");
                g_assert_cmpint(chown(path, 65534, 65534), ==, 0);
                assert_trust(dir, 0644, "it belongs to another user");
        }
        tempdir_remove(dir);
}

static void
assert_unreadable(const char *path, const char *part)
{
        g_autoptr(Config) c = config_new();
        g_autoptr(GError) error = NULL;
        g_assert_false(config_read(c, path, false, &error));
        g_assert_nonnull(strstr(error->message, part));
        g_assert_nonnull(strstr(error->message, path));
}

static void
test_unreadable(void)
{
        char *dir = tempdir_new();
        g_autofree char *path = g_build_filename(dir, "x", NULL);
        assert_unreadable(path, "No such file");
        assert_unreadable(dir, "is not a regular file");
        g_assert_cmpint(mkfifo(path, 0600), ==, 0);
        assert_unreadable(path, "is not a regular file");
        g_assert_cmpint(unlink(path), ==, 0);
        tempdir_put(dir, "x", "");
        g_assert_cmpint(truncate(path, (1 << 20) + 1), ==, 0);
        assert_unreadable(path, "more than 1048576 bytes");
        tempdir_remove(dir);
}

/* A user's files, of which later ones take precedence. */
static void
test_user_places(void)
{
        char *dir = tempdir_new();
        g_autofree char *containers = g_build_filename(dir, "containers", NULL);
        g_autofree char *drop_ins = g_build_filename(containers, "conmon.conf.d", NULL);
        g_autoptr(Config) c = NULL;
        g_autoptr(GError) error = NULL;
        g_assert_true(g_setenv("XDG_CONFIG_HOME", dir, TRUE));
        g_assert_cmpint(g_mkdir_with_parents(drop_ins, 0755), ==, 0);
        tempdir_put(containers, "conmon.conf",
                    "[profile a]\ndriver=main\n[profile b]\ndriver=main\n[profile c]\ndriver=main\n");
        tempdir_put(drop_ins, "20.conf", "[profile a]\ndriver=20\n");
        tempdir_put(drop_ins, "10.conf", "[profile a]\ndriver=10\n[profile b]\ndriver=10\n");
        tempdir_put(drop_ins, ".30.conf", "[profile a]\ndriver=30\n");
        tempdir_put(drop_ins, "40.conf~", "[profile a]\ndriver=40\n");
        g_assert_true(config_read_all(NULL, true, &c, &error));
        g_assert_no_error(error);
        g_assert_cmpstr(config_entry(config_find(c, "profile", "a"), "driver")->values[0], ==, "20");
        g_assert_cmpstr(config_entry(config_find(c, "profile", "b"), "driver")->values[0], ==, "10");
        g_assert_cmpstr(config_entry(config_find(c, "profile", "c"), "driver")->values[0], ==, "main");

        /* An invalid file does not affect the others. */
        g_autoptr(Config) rest = NULL;
        tempdir_put(drop_ins, "15.conf", "nonsense\n");
        tempdir_put(drop_ins, "16.conf", "more nonsense\n");
        g_assert_false(config_read_all(NULL, true, &rest, &error));
        g_assert_true(g_str_has_suffix(error->message,
                                       "/15.conf:1: this is no [section], no KEY = VALUE in a section, "
                                       "and no # comment"));
        g_assert_cmpstr(config_entry(config_find(rest, "profile", "a"), "driver")->values[0], ==, "20");
        g_clear_error(&error);

        /* A directory that others can write to. */
        g_autoptr(Config) without = NULL;
        g_assert_cmpint(chmod(drop_ins, 0777), ==, 0);
        g_assert_false(config_read_all(NULL, true, &without, &error));
        g_assert_nonnull(strstr(error->message, "conmon.conf.d is not trusted"));
        g_assert_cmpstr(config_entry(config_find(without, "profile", "a"), "driver")->values[0], ==, "main");
        tempdir_remove(dir);
}

/* Every default is a valid value, and each text of the table has a terminating NUL. */
static void
test_keys(void)
{
        for (const ConfigKey *key = config_keys(); *key->name; key++) {
                g_assert_cmpuint(strnlen(key->section, sizeof key->section), <, sizeof key->section);
                g_assert_cmpuint(strnlen(key->name, sizeof key->name), <, sizeof key->name);
                g_assert_cmpuint(strnlen(key->fallback, sizeof key->fallback), <, sizeof key->fallback);
                g_assert_cmpuint(strnlen(key->type.choices, sizeof key->type.choices), <,
                                 sizeof key->type.choices);
                if (*key->fallback)
                        g_assert_true(config_key_check(key, key->fallback, NULL));
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/config/file/good", test_good);
        g_test_add_func("/config/file/bad-syntax", test_bad_syntax);
        g_test_add_func("/config/file/bad-settings", test_bad_settings);
        g_test_add_func("/config/file/line-numbers", test_line_numbers);
        g_test_add_func("/config/file/sections-replace", test_sections_replace);
        g_test_add_func("/config/file/match", test_match);
        g_test_add_func("/config/file/trust", test_trust);
        g_test_add_func("/config/file/keys", test_keys);
        g_test_add_func("/config/file/unreadable", test_unreadable);
        g_test_add_func("/config/file/user-places", test_user_places);
        return g_test_run();
}

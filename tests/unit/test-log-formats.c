/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Properties of all formats: one record, encoded by each of them. */

#include "log-fixture.h"

#include "log/api/queue.h"
#include "log/drivers/registry.h"
#include "log/sink/sink.h"

typedef struct {
        char *dir; /* with config.json */
        LogConfig config;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
        f->dir = tempdir_new();
        f->config = log_fixture_config(NULL);
        f->config.name = "web";
}

static void
tear_down(Fixture *f, gconstpointer data)
{
        log_fixture_bundle(&f->config, NULL);
        tempdir_remove(f->dir);
}

static void
put_config(Fixture *f, const char *json)
{
        log_fixture_bundle(&f->config, f->dir);
        g_autofree char *path = g_build_filename(f->dir, "config.json", NULL);
        g_assert_true(g_file_set_contents(path, json, -1, NULL));
}

/* Options that each driver needs. */
static const char *
address_of(const char *driver)
{
        static const char *const addresses[][2] = {
                {"gelf", "gelf-address=tcp://127.0.0.1:9"},
                {"fluentd", "fluentd-address=unix:///nowhere"},
                {"syslog", "syslog-address=unix:///nowhere"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(addresses); i++)
                if (strcmp(addresses[i][0], driver) == 0)
                        return addresses[i][1];
        return NULL;
}

static void
set_option(LogOptions *options, const char *text)
{
        g_autoptr(GError) error = NULL;
        g_auto(GStrv) pair = text ? g_strsplit(text, "=", 2) : NULL;
        if (pair)
                (void)log_options_set(options, pair[0], pair[1], &error);
        g_assert_no_error(error);
}

/* The message of `driver` for the record; options are separated by blanks. */
static GString *
encode(const Fixture *f, const char *name, const char *options_text, const LogRecord *r)
{
        const LogDriver *driver = log_driver_find(name);
        g_autoptr(LogOptions) options = log_sink_options(driver);
        g_auto(GStrv) list = g_strsplit(options_text, " ", 0);
        g_autoptr(GError) error = NULL;
        set_option(options, address_of(name));
        for (char **o = list; *o; o++)
                set_option(options, *o);
        LogDriverConfig c = {.options = log_options_values(options, LOG_OPTIONS_OF_DRIVER),
                             .arg = "/dev/null",
                             .log = &f->config};
        void *self = log_driver_open(driver, &c, &error);
        g_assert_no_error(error);
        LogQueue q = {0};
        LogBlock *block = log_queue_block(&q, driver->format.max_encoded_len(self, r->len));
        size_t start = block->end;
        g_assert_cmpuint(log_driver_encode(driver, self, r, 1, block), ==, 1);
        g_assert_cmpuint(block->end - start, <=, driver->format.max_encoded_len(self, r->len));
        GString *message = g_string_new_len(block->bytes + start, (gssize)(block->end - start));
        LogCount none = {0};
        log_queue_clear(&q, &none);
        log_queue_release(&q);
        log_driver_close(driver, self);
        return message;
}

/* A complete line with its newline. */
static LogRecord
line(const char *text, size_t len)
{
        return (LogRecord){
                .bytes = text, .len = (uint32_t)len - 1, .time_ns = TEST_NS, .payload = (uint32_t)len};
}

#define LINE(text) (&(LogRecord[]){line(text, sizeof(text) - 1)}[0])

static void
expect(const GString *message, const char *bytes, size_t len)
{
        if (!memmem(message->str, message->len, bytes, len))
                g_error("no '%s' in '%s'", bytes, message->str);
}

static size_t
count(const GString *message, const char *text)
{
        size_t n = 0, len = strlen(text);
        const char *end = message->str + message->len;
        for (const char *at = message->str; (at = memmem(at, (size_t)(end - at), text, len)); at += len)
                n++;
        return n;
}

/* Annotations and variables whose names are reserved in a format, become equal after conversion, or are
 * invalid. */
static void
test_names(Fixture *f, gconstpointer data)
{
        static const struct {
                const char *driver, *names, *annotations;
                const char *once[5];     /* these occur once */
                const char *expected[5]; /* and these occur */
        } cases[] = {
                {"journald",
                 "message,priority,container_id_full,2nd,__,a.b,a-b",
                 "'message':'evil','priority':'0','container_id_full':'other','2nd':'second','__':'none',"
                 "'a.b':'dot','a-b':'dash'",
                 {"\nCONTAINER_ID_FULL=", "\nPRIORITY=", "\nA_B=", "\nA_B_="},
                 {"\nMESSAGE_=evil\n", "\nX_2ND=second\n", "\nX=none\n", "\nCONTAINER_ID_FULL_=other\n"}},
                {"gelf",
                 "id,container_id,tag,a/b,a:b",
                 "'id':'7','container_id':'other','tag':'evil','a/b':'slash','a:b':'colon'",
                 {"\"_container_id\":", "\"_tag\":", "\"_a_b\":", "\"_a_b_\":"},
                 {"\"_id_\":\"7\"", "\"_container_id_\":\"other\"", "\"_tag_\":\"evil\""}},
                {"fluentd",
                 "log,source,log_",
                 "'log':'evil','source':'other','log_':'mine'",
                 {"\xa3log", "\xa6source", "\xa4log_", "\xa5log__"},
                 {"\xa4log_\xa4"
                  "evil",
                  "\xa7source_\xa5other", "\xa5log__\xa4mine"}},
                {"json-file", "tag", "'tag':'evil'", {"\"tag\":"}, {"\"tag\":\"T\",\"tag_\":\"evil\""}},
                {"syslog",
                 "a=b,a]b",
                 "'a=b':'1','a]b':'2'",
                 {" a_b=", " a_b_="},
                 {"a_b=\"1\"", "a_b_=\"2\""}},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *quoted = g_strconcat("{'annotations':{", cases[i].annotations, "}}", NULL);
                g_autofree char *options = g_strconcat(
                        "tag=T labels=", cases[i].names,
                        strcmp(cases[i].driver, "syslog") == 0 ? " syslog-format=rfc5424" : "", NULL);
                put_config(f, g_strdelimit(quoted, "'", '"'));
                g_autoptr(GString) message = encode(f, cases[i].driver, options, LINE("x\n"));
                for (const char *const *once = cases[i].once; *once; once++) {
                        g_test_message("%s: %s", cases[i].driver, *once);
                        g_assert_cmpuint(count(message, *once), ==, 1);
                }
                for (const char *const *text = cases[i].expected; *text; text++)
                        expect(message, *text, strlen(*text));
        }
}

/* Field names of the journal have at most 64 bytes, also after they were made unique. */
static void
test_long_names(Fixture *f, gconstpointer data)
{
        g_autofree char *name = g_strnfill(70, 'n'), *upper = g_strnfill(63, 'N');
        g_autofree char *json = g_strdup_printf(
                "{\"annotations\":{\"%s1\":\"a\",\"%s2\":\"b\",\"%s3\":\"c\"}}", name, name, name);
        g_autofree char *options = g_strdup_printf("labels=%s1,%s2,%s3", name, name, name);
        g_autofree char *expected = g_strdup_printf("\n%sN=a\n%s_=b\n%.62s_2=c\n", upper, upper, upper);
        put_config(f, json);
        g_autoptr(GString) message = encode(f, "journald", options, LINE("x\n"));
        expect(message, expected, strlen(expected));
}

/* If a label and a variable have the same name, the variable is used, regardless of the order in
 * config.json. */
static void
test_variable_wins(Fixture *f, gconstpointer data)
{
        static const char *const orders[] = {
                "{\"annotations\":{\"A\":\"label\"},\"process\":{\"env\":[\"A=variable\"]}}",
                "{\"process\":{\"env\":[\"A=variable\"]},\"annotations\":{\"A\":\"label\"}}",
        };
        static const char *const drivers[] = {"json-file", "gelf", "fluentd", "journald", "syslog"};
        static char *labels[] = {(char *)"A=line", NULL};
        f->config.labels = labels;
        for (size_t i = 0; i < G_N_ELEMENTS(orders); i++) {
                put_config(f, orders[i]);
                for (size_t k = 0; k < G_N_ELEMENTS(drivers); k++) {
                        const char *format =
                                strcmp(drivers[k], "syslog") == 0 ? " syslog-format=rfc5424" : "";
                        g_autofree char *options = g_strconcat("labels=A env=A", format, NULL);
                        g_autoptr(GString) message = encode(f, drivers[k], options, LINE("x\n"));
                        expect(message, "variable", 8);
                        g_assert_cmpuint(count(message, "label") + count(message, "line"), ==, 0);
                }
        }
}

/* The last record of a stream that ends within a line is marked as the last part. */
static void
test_last_part(Fixture *f, gconstpointer data)
{
        static const char *const cases[][2] = {
                {"gelf", "\"_partial_last\":\"true\""},
                {"fluentd", "partial_last\xa4true"},
                {"syslog", "ordinal=\"2\" last=\"true\"]"},
        };
        LogRecord r = line("tail\n", 5);
        r.partial_id = 7;
        r.ordinal = 2;
        r.flags = LOG_RECORD_PARTIAL | LOG_RECORD_CONTINUES | LOG_RECORD_PAUSED | LOG_RECORD_ENDS;
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                const char *options = i == 2 ? "syslog-format=rfc5424" : "";
                g_autoptr(GString) message = encode(f, cases[i][0], options, &r);
                expect(message, cases[i][1], strlen(cases[i][1]));
        }
}

/* In text formats each invalid UTF-8 byte becomes U+FFFD, in text, tag and attributes. */
static void
test_not_unicode(Fixture *f, gconstpointer data)
{
        static char *labels[] = {(char *)"A=\xff", NULL};
        f->config.labels = labels;
        f->config.tag = "t\xc3";
        g_autoptr(GString) fluentd = encode(f, "fluentd", "",
                                            LINE("a\xff\xc3\xa9\xe2\x82"
                                                 "b\n"));
        static const char text[] = "\xa3log\xad"
                                   "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd"
                                   "b";
        static const char member[] = "\xa1"
                                     "A\xa3\xef\xbf\xbd";
        expect(fluentd, text, sizeof text - 1);
        expect(fluentd, member, sizeof member - 1);
        static const char *const drivers[] = {"gelf", "json-file"};
        for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++) {
                g_autoptr(GString) json = encode(f, drivers[i], "", LINE("a\xff\n"));
                expect(json, "a\\ufffd", 7);
                g_assert_true(g_utf8_validate_len(json->str, json->len - 1, NULL));
        }
}

int
main(int argc, char **argv)
{
        log_fixture_set_up();
        g_test_init(&argc, &argv, NULL);
#define ADD(name, func) g_test_add("/log/formats/" name, Fixture, NULL, set_up, func, tear_down)
        ADD("names", test_names);
        ADD("long-names", test_long_names);
        ADD("variable-wins", test_variable_wins);
        ADD("last-part", test_last_part);
        ADD("not-unicode", test_not_unicode);
        return g_test_run();
}

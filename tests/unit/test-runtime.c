#include "proc/runtime.h"

static void
check_argv(const RuntimeCommand *command, const char *want)
{
        GPtrArray *argv = runtime_argv(command);
        g_autofree char *got = g_strjoinv(" ", (char **)argv->pdata);
        g_assert_cmpstr(got, ==, want);
        g_ptr_array_unref(argv);
}

static RuntimeCommand
command(RuntimeAction action)
{
        static char log[] = "--log", file[] = "file", fds[] = "--preserve-fds", one[] = "1";
        static char *args[] = {log, file, NULL}, *opts[] = {fds, one, NULL};
        return (RuntimeCommand){
                .action = action,
                .runtime = "/rt",
                .args = args,
                .opts = opts,
                .cid = "CID",
                .bundle = "/b",
                .pidfile = "/p",
                .restore_path = "/cp",
                .process_spec = "/spec",
        };
}

static void
test_plain(void)
{
        RuntimeCommand c = {.action = RUNTIME_CREATE,
                            .runtime = "rt",
                            .cid = "c",
                            .bundle = "b",
                            .pidfile = "p"};
        check_argv(&c, "rt create --bundle b --pid-file p c");
}

static void
test_create(void)
{
        RuntimeCommand c = command(RUNTIME_CREATE);
        check_argv(&c, "/rt --log file create --bundle /b --pid-file /p --preserve-fds 1 CID");
        c.systemd_cgroup = c.no_pivot = c.no_new_keyring = true;
        c.console_socket = "/s";
        check_argv(&c, "/rt --systemd-cgroup --log file create --bundle /b --pid-file /p --no-pivot "
                       "--no-new-keyring --preserve-fds 1 --console-socket /s CID");
}

static void
test_restore(void)
{
        RuntimeCommand c = command(RUNTIME_RESTORE);
        c.no_pivot = true;
        check_argv(&c, "/rt --log file restore --bundle /b --pid-file /p --no-pivot --detach --image-path "
                       "/cp --work-path /b --preserve-fds 1 CID");
}

static void
test_exec(void)
{
        RuntimeCommand c = command(RUNTIME_EXEC);
        c.systemd_cgroup = c.no_pivot = c.no_new_keyring = true;
        c.console_socket = "/s";
        check_argv(&c, "/rt --log file exec --pid-file /p --process /spec --detach --preserve-fds 1 "
                       "--console-socket /s CID");
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/runtime/plain", test_plain);
        g_test_add_func("/runtime/create", test_create);
        g_test_add_func("/runtime/restore", test_restore);
        g_test_add_func("/runtime/exec", test_exec);
        return g_test_run();
}

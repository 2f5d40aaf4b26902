/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* A fake OCI runtime: takes the arguments that a monitor passes and runs a script.
 *
 *   fake-runtime [GLOBAL...] create|exec|restore [OPTION...] ID
 *           runs the script in the environment variable FAKE_RUNTIME, or, if there is none, starts a
 *           container as a runtime would. The container runs the script in FAKE_CONTAINER.
 *   fake-runtime script LINE...
 *           runs the lines; useful as an exit command.
 *
 * script.h describes the language. */

#include "runtime.h"
#include "script.h"

#include <stdlib.h>
#include <string.h>

static const char default_script[] = "console\ncontainer\npidfile";

char **fake_argv;

static int
run_lines(char **lines)
{
        for (; *lines != NULL; lines++)
                script_command(*lines, NULL);
        return 0;
}

static void
parse(struct runtime *runtime, int argc, char **argv)
{
        for (int i = 1; i < argc; i++) {
                const char *value = i + 1 < argc ? argv[i + 1] : NULL;
                if (strcmp(argv[i], "--pid-file") == 0)
                        runtime->pid_file = value;
                else if (strcmp(argv[i], "--console-socket") == 0)
                        runtime->console_socket = value;
                else if (strcmp(argv[i], "--preserve-fds") == 0 && value != NULL)
                        runtime->preserved = (unsigned)atoi(value);
                else if (runtime->verb == NULL &&
                         (strcmp(argv[i], "create") == 0 || strcmp(argv[i], "exec") == 0 ||
                          strcmp(argv[i], "restore") == 0))
                        runtime->verb = argv[i];
        }
        runtime->id = argv[argc - 1];
}

int
main(int argc, char **argv)
{
        struct runtime runtime = {.argv = argv, .console = -1};
        const char *script = getenv("FAKE_RUNTIME");
        fake_argv = argv;
        if (argc > 1 && strcmp(argv[1], "script") == 0)
                return run_lines(argv + 2);
        parse(&runtime, argc, argv);
        if (runtime.verb == NULL)
                script_fail("usage: fake-runtime [GLOBAL...] create|exec|restore [OPTION...] ID", "");
        script_run(script != NULL ? script : default_script, &runtime);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/launcher.h"
#include "core/options.h"
#include "core/resume.h"

#include <sys/stat.h>

int
main(int argc, char **argv)
{
        InheritedFds inherited;
        Options options;
        int status = 0;

        if (resume_run(argc, argv, &status))
                return status;
        inherited_fds_record(&inherited);
        (void)umask(022);
        if (options_load(&options, argc, argv, &status))
                status = launcher_run(&options, &inherited);
        options_clear(&options);
        inherited_fds_done(&inherited);
        return status;
}

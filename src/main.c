#include "core/monitor.h"
#include "core/options.h"

#include <locale.h>
#include <sys/stat.h>

int
main(int argc, char **argv)
{
        InheritedFds inherited;
        Options options;
        int status = 0;

        inherited_fds_record(&inherited);
        /* The charset of the command line and the language of error descriptions. Each further category is another file
         * to open and map, in every monitor. */
        (void)setlocale(LC_CTYPE, "");
        (void)setlocale(LC_MESSAGES, "");
        (void)umask(022);
        if (options_load(&options, argc, argv, &status))
                status = monitor_run(&options, &inherited);
        options_clear(&options);
        inherited_fds_done(&inherited);
        return status;
}

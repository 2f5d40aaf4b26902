#include "core/monitor.h"
#include "core/options.h"

#include <sys/stat.h>

int
main(int argc, char **argv)
{
        InheritedFds inherited;
        Options options;
        int status = 0;

        inherited_fds_record(&inherited);
        (void)umask(022);
        if (options_load(&options, argc, argv, &status))
                status = monitor_run(&options, &inherited);
        options_clear(&options);
        inherited_fds_done(&inherited);
        return status;
}

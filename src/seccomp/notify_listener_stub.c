#include "seccomp/notify_listener.h"

#include "base/error.h"

SeccompListener *
seccomp_listener_new(const SeccompConfig *config, GError **error)
{
        error_set(error, CONMON_ERROR_USAGE,
                  "This conmon was built without support for seccomp notifications");
        return NULL;
}

void
seccomp_listener_free(SeccompListener *l)
{
}

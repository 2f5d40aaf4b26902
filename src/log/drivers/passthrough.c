#include "log/driver.h"

const LogDriver log_driver_passthrough = {
        .name = "passthrough",
        .help = "the container writes to the monitor's own standard output and error",
        .flags = LOG_DRIVER_NO_SINK,
};

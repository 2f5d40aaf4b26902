#include "io/terminal.h"

#include "base/diag.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

void
terminal_set_up(int fd)
{
        struct termios t;
        if (tcgetattr(fd, &t) == 0) {
                t.c_oflag |= ONLCR;
                if (tcsetattr(fd, TCSANOW, &t) == 0)
                        return;
        }
        diag_warn("Failed to set up the container's terminal: %s", strerror(errno));
}

void
terminal_resize(int fd, int rows, int columns)
{
        struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
        if (ioctl(fd, TIOCSWINSZ, &size) < 0)
                diag_warn("Failed to set the size of the container's terminal to %dx%d: %s", rows, columns,
                          strerror(errno));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Delayed exit commands of exec sessions (--exit-delay). The session's monitor passes its command to the
 * container's monitor and exits; that one runs it when the delay is over, or, if the container exits
 * earlier, before its own exit command. */

#include "core/monitor.h"

/* For the container's monitor: listens for sessions, if it can run their commands. No effect if it already
 * listens. */
void exec_exits_listen(Monitor *m);

/* For the session's monitor: true if the container's monitor has accepted the command. */
bool exec_exits_hand_over(const Monitor *m, const ExitCommand *command);

/* In a copy of the monitor that continues: commands that were running are not its children, and are
 * forgotten; later ones come to it. */
void exec_exits_continue_in_copy(const Monitor *m);

/* Live upgrade; see upgrade.h. */
void exec_exits_save(const Monitor *m, StateWriter *w);
void exec_exits_restore(Monitor *m, StateReader *r);

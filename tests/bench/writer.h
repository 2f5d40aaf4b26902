#pragma once

/* The container of a measurement. It is told what to do by its environment, which a monitor hands on unchanged:
 *
 *     BENCH_GATE=FIFO     wait until somebody opens this FIFO for writing
 *     BENCH_WRITE="LINE CHUNK TOTAL"   lines of LINE bytes, CHUNK bytes a write, TOTAL bytes in all (0: endless)
 *     BENCH_SECONDS=N     stop after N seconds, in the middle of a write that blocks if need be
 *     BENCH_REPORT=FILE   put the number of bytes written there
 *     BENCH_STAY=1        stay, silent, after the last byte
 *
 * Returns the exit status. */
int writer_run(void);

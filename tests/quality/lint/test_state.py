#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Live upgrade: every member of a monitor's structs is saved and restored, or listed here."""

import re

from rules import rule, run

# Members that are not written to the state: they follow from others, are recreated, or are found out again.
NOT_CARRIED = {
    'AttachClient': 'watch memory config events',
    'AttachServer': 'input_end_closes_stdin half_close_types_eof half_closed eof_timer input gone gone_timer '
                    'quiet_timer queued client_config client_events on_wants data',
    'Binary': 'sink finished ended',
    'Container': 'exit_code status timed_out ended_ns ended_usec record_usec',
    'ContainerProcess': 'ended reaped_by_others watch reap_timer on_end data',
    'ContainerStdin': 'watch retry on_wants data',
    'ExitQueue': 'mask score patterns pattern_bytes waiting timer failures',
    'ExitSocket': 'events',
    'Fluentd': 'n_seen reason scan trailer trailer_len head_len',
    'ForwardAuth': 'refusal',
    'Gelf': 'compressed',
    'Guest': 'server watch',
    'HttpAnswer': 'body_max problem',
    'HttpRequest': 'body_len head before after compressed',
    'HealthCheck': 'config command watch',
    'InheritedFds': 'unknown',
    'K8sFile': 'clock prefix_ns prefix',
    'LineFifo': 'watch rest_timer func data',
    'Log': 'settle records quiet busy wants wants_data drained drained_data',
    'LogBlock': 'size queued n_dead',
    'LogHttp': 'batch_limit protocol ending taken',
    'LogCompressor': 'func data',
    'LogConnection': 'sink on_input data moved next_timer watch',
    'LogArchive': 'sink',
    'LogArrival': 'timer wait wrote_usec heard_usec moved_usec',
    'LogFile': 'sink stand_in writable again displaced',
    'LogHost': 'resolver next resolved_usec',
    'LogIntake': 'outlet streams filter no_blanks own_max only_joins count',
    'LogOptions': 'n_references driver values n_tables',
    'LogPlugin': 'sink target control finished reason',
    'LogRateLimit': 'burst interval block',
    'LogRawOutput': 'sink writable',
    'LogRedactor': 'secrets longest copy',
    'LogSink': 'transport driver_options intake_options queue_max mode block_on_error on_full '
               'stall_timeout drain_timeout release_due done_at_failure delivered_usec drain_end '
               'changed changed_data',
    'LogSplitter': 'now_ns more',
    'LogStripper': 'copy',
    'LogTls': 'options func data busy accepted fd watch limit',
    'LoggerProcess': 'argv environment func data pid_watch ready_watch',
    'Loki': 'stream last_ns',
    'Monitor': 'endpoints exits health_checks refusal runtime catch_up openings request status recorded log_unfinished '
               'command_done program',
    'NotifyRelay': 'watch host_watch',
    'OomWatch': 'watch data',
    'OutputStream': 'watch wait_timer hangup_epoll hangup_watch n_taken n_tiny func data',
    'PluginFifo': 'sink spare watch waiting reader_gone look look_wait',
    'QuietBuffer': 'size used timer',
    'SignalWatch': 'watch func data',
    'Syslog': 'clock heads whole_data whole_data_len head_max',
    'Timer': 'func data start running',
    'Worker': 'func data watch',
}


def without_comments(text):
    return re.sub(r'/\*.*?\*/', ' ', text, flags=re.S)


def structs(text):
    """The bodies of structs, by name."""
    named = re.findall(r'\bstruct (\w+) \{(.*?)\n\}', text, re.S)
    aliases = re.findall(r'\btypedef struct \{(.*?)\n\} (\w+);', text, re.S)
    return {**dict(named), **{name: body for body, name in aliases}}


def members(body):
    for declaration in body.split(';'):
        function = re.search(r'\(\*(\w+)\)\(', declaration)
        parts = [function.group(1)] if function else declaration.split(',')
        for part in parts:
            name = re.search(r'(\w+)\s*(\[.*?\])?\s*(:\s*\d+)?$', part.strip())
            if name:
                yield name.group(1)


def saved(text):
    """For functions that save state: the types that they save, and the members that they access."""
    functions = re.findall(r'^(?:\w+_)?save\w*\(([^)]*)\)\n\{(.*?)^\}', text, re.S | re.M)
    bodies = ' '.join(body for _, body in functions)
    types = set(re.findall(r'(\w+) \*\w+(?:,|$)', ' '.join(arguments + ',' for arguments, _ in functions)))
    types |= set(re.findall(r'const (\w+) \*\w+ = ', bodies)) | set(re.findall(r'\(\(const (\w+) \*\)data\)', bodies))
    return types, set(re.findall(r'(?:->|\.)(\w+)', bodies))


@rule({'src/base/a.c': 'typedef struct {\n        int a, b;\n        bool c;\n} A;\n\nvoid\na_save(const A *a, StateWriter *w)\n'
                       '{\n        state_put_int(w, "a", a->a);\n        state_put_int(w, "b", a->b);\n}\n'})
def every_member_is_saved_or_listed(tree):
    """A new member must be written in X_save and read in X_restore, or be listed in NOT_CARRIED with those
    that need not be."""
    texts = {path: without_comments(text) for path, text in tree.texts('*.[ch]', below=('src',))}
    known = {}
    for text in texts.values():
        known.update(structs(text))
    wrong = []
    for path, text in texts.items():
        types, looked_at = saved(text)
        # The monitor and its options are saved in several files.
        for name in sorted(types & known.keys() - {'StateWriter', 'LogQueue', 'Options'}):
            if name == 'Monitor' and path.name != 'monitor.c':
                continue
            others = set(NOT_CARRIED.get(name, '').split())
            wrong += [f'{path}: {name}.{member}' for member in members(known[name]) if member not in looked_at | others]
    return wrong


@rule({'src/base/a.h': 'typedef struct {\n        int start;\n} Timer;\n'})
def every_listed_member_exists(tree):
    """A member that is gone is removed from NOT_CARRIED, too."""
    known = {}
    for _, text in tree.texts('*.[ch]', below=('src',)):
        known.update(structs(without_comments(text)))
    return [f'{name}.{member}' for name, listed in NOT_CARRIED.items()
            for member in sorted(set(listed.split()) - set(members(known.get(name, ''))))]


if __name__ == '__main__':
    run(globals())

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The shell commands of README.md, src/README.md, tests/README.md and the manual pages: each is run here, or by the
test that ELSEWHERE names, or NOT_RUN has the reason why not."""

import json
import os
import pathlib
import re
import subprocess

import oci
from harness import CONMON, check, equal, pages, skip, slow, tool
from harness.pages import TOP

BUILD = pathlib.Path(CONMON).parents[1]
CONMONCTL = BUILD / 'src/conmonctl/conmonctl'

# Commands: the file that runs them, and words in it that say so.
ELSEWHERE = {
    r'./contrib/demo': ('tests/interop/system/test_demo.py', 'contrib/lib/demo.py'),
    r'apt-get install .*|meson (setup|compile|install) .*': ('contrib/check', '/^## Building/'),
    r'podman --conmon .*|podman info .*': ('tests/interop/system/test_readme.py', "'podman --conmon'"),
    r'podman run --annotation .*': ('tests/interop/system/test_config_podman.py', 'org.conmon.log/profile'),
    r'tests/runtime-check RUNTIME': ('tests/interop/system/test_runtime_check.py', "'runtime-check'"),
    r'conmon \$c .*|journalctl .*': ('tests/interop/receivers/test_commands.py', 'manual.arguments(PAGE'),
    r'conmonctl (list|top|metrics|reopen|reload|upgrade|status|--version|--help)\b.*':
        ('tests/integration/test_page_examples.py', "items('conmonctl.1')"),
}

NOT_RUN = {
    r'(\./)?contrib/check.*': 'it runs this test',
    r'\./contrib/bench': 'it measures, for a quarter of an hour',
    r'conmon … .*': 'its driver exists only in the text; quality/lint compiles it',
    r'(podman|kubectl) (logs|run|run -it|restart|healthcheck run|run --log-driver k8s-file)': 'not a whole command',
    r'podman options .*': 'the monitor runs it',
}

NAMESPACES = ['unshare', '--mount', '--pid', '--fork', '--mount-proc', 'sh', '-exc']


def displays(page, title):
    """The literal displays of a section."""
    section = re.search(rf'^\.Sh {title}\n(.*?)^\.Sh ', (TOP / page).read_text(), re.S | re.M).group(1)
    found = re.findall(r'^\.Bd -literal[^\n]*\n(.*?)^\.Ed', section, re.S | re.M)
    return [text.replace('\\e', '\\') for text in found]


def display(page, word):
    """The only one of the examples that has this word."""
    text, = [text for text in displays(page, 'EXAMPLES') if word in text]
    return text


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    check(done.returncode == 0, f'{command}: {done.returncode}: {done.stdout}{done.stderr}')
    return done.stdout


# The whole life of a container without an engine. `conmonctl` sees only the processes of this namespace.
LIFE = '''
mount -t tmpfs none /run
{create}
until [ -s log ]; do sleep 0.1; done
conmonctl
{status}
{requests}
until [ -s log ] && grep -q "$1" log; do sleep 0.1; done
timeout 1 {attach} >attached || [ $? = 124 ]
logrotate --force --state state rotate.conf
until [ -s log ]; do sleep 0.1; done
runc kill demo KILL
until [ -s exits/demo ]; do sleep 0.1; done
'''


def live(t, wanted, script, change=lambda text: text, **options):
    for program in ('logrotate', 'socat'):
        tool(program)
    m = t.container('sh', '-c', f'while :; do {script}; sleep 0.1; done', **options)
    (t.dir / 'bin').mkdir()
    for program in (CONMON, CONMONCTL):
        (t.dir / 'bin' / os.path.basename(program)).symlink_to(program)
    configuration = display('man/conmonctl.1', 'postrotate').replace('/var/log/web.json', str(m.bundle / 'log'))
    (m.bundle / 'rotate.conf').write_text(configuration)
    (m.bundle / 'rotate.conf').chmod(0o644)
    status, = [command for command in pages.commands('man/conmonctl.1') if command.startswith('$ conmonctl status')]
    text = LIFE.format(create=change(display('man/conmon.8', 'runc start')), requests=display('man/conmon.8', '> ctl'),
                       attach=display('man/conmon.8', 'socat').strip(), status=status[2:].replace('web', 'demo'))
    out = run([*NAMESPACES, text, 'sh', wanted], cwd=m.bundle,
              env={'PATH': f'{t.dir}/bin:{oci.PATH}', 'LC_ALL': 'C.UTF-8'})
    check(re.search(r'^demo ', out, re.M) and re.search('Container: demo', out), out)
    equal((m.bundle / 'exits/demo').read_text(), '137')
    for log in ('log', 'log.old', 'log.1', 'attached'):
        check((m.bundle / log).stat().st_size, f'{log} is empty')
    t.monitors.remove(m)


@slow(120)
def test_life_of_a_container(t):
    live(t, 'tick', 'echo tick')


@slow(120)
def test_life_of_a_container_with_a_terminal(t):
    live(t, '24 80', 'stty size', lambda text: text.replace('conmon -c', 'conmon -t -c'), terminal=True)


@slow(120)
def test_manual_pages(t):
    tool('man')
    commands = [command for page in pages.PAGES for command in pages.commands(page) if command.startswith('man ')]
    equal({command.split()[1] for command in commands}, {f'./{page}' for page in pages.PAGES if page.startswith('man/')})
    for command in commands:
        name = pathlib.Path(command.split()[1]).stem
        text = run(command, shell=True, cwd=TOP,
                   env={'PATH': os.environ['PATH'], 'LC_ALL': 'C.UTF-8', 'MANPAGER': 'cat', 'MANWIDTH': '80'})
        check(f'     {name} — ' in text and len(text) > 5000, f'{command}: {text[:200]}')


def test_questions_to_the_monitor(t):
    """What README.md asks it without a container."""
    commands = [command for page in pages.PAGES for command in pages.commands(page)
                if re.fullmatch(r'conmon (--check-config.*|--log-driver help|--version)', command)]
    check(len(commands) >= 5, f'{commands}')
    for command in commands:
        check(run(command, shell=True, env=t.environment(PATH=f'{pathlib.Path(CONMON).parent}:/usr/bin:/bin')), command)


@slow(120)
def test_commands_for_tests(t):
    """Those of tests/README.md: names of suites and files exist; single files and cases run."""
    tests = BUILD / 'meson-info/intro-tests.json'
    if not tests.exists():
        skip(f'there is no {tests}')
    known = {name for test in json.loads(tests.read_text())
             for name in (test['name'], *(suite.split(':')[-1] for suite in test['suite']))}
    commands = pages.commands('tests/README.md') + pages.commands('README.md')
    names = {name for command in commands if command.startswith('meson test')
             for name in command.replace(' --suite', '').split()[4:]}
    check(len(names) >= 4 and names <= known, f'{names - known} are unknown')
    for command in commands:
        words = command.split()
        if words[0].startswith('build/'):
            run([BUILD / words[0].removeprefix('build/'), *words[1:]])
        elif words[0].startswith('tests/'):
            run(words if len(words) == 2 else [*words, 'test_slow_reader'], cwd=TOP,
                env={**os.environ, 'CONMON_TEST_RUNTIME': BUILD / 'tests/lib/runtime/fake-runtime'})


HERE = r'''conmon\ (--check-config.*|--log-driver\ help|--version) | man\ .* | meson\ test\ .* | (build|tests)/.* |
        mkdir\ .* | conmon\ -c\ demo\ .* | until\ .* | runc\ .* | echo\ .*ctl | mv\ .*ctl | socat\ .* | \$\ conmonctl.*'''


def test_each_command_has_its_test(t):
    for command in [command for page in pages.PAGES for command in pages.commands(page)]:
        files = [place for pattern, place in ELSEWHERE.items() if re.fullmatch(pattern, command)]
        reasons = [reason for pattern, reason in NOT_RUN.items() if re.fullmatch(pattern, command)]
        check(files or reasons or re.fullmatch(HERE, command, re.X), f'no test runs {command}')
    for file, words in ELSEWHERE.values():
        check(words in (TOP / file).read_text(), f'{file} does not say {words}')


if __name__ == '__main__':
    oci.main()

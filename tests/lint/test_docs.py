#!/usr/bin/python3
"""The documents: their spelling, their form, and whether they say what the program does."""

import os
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'tests'))
from harness import check, equal, main  # noqa: E402

PAGES = sorted((TOP / 'man').glob('*.[0-9]'))
CONMON = os.environ.get('CONMON', str(TOP / 'build/src/conmon'))

# Words of the trade that codespell takes for something else.
WORDS = 'als,crate,nd,ser,te,whats'


def help_text():
    return subprocess.run([CONMON, '--help'], capture_output=True, text=True, check=True).stdout


def options_of_help():
    return set(re.findall(r'^\s+(?:-\w, )?(--[a-z][a-z-]*)', help_text(), re.M))


def options_of_page():
    """What the lists of the manual page define: `.It Fl -cid ...` or `.It Fl c , Fl -cid ...`."""
    text = (TOP / 'man/conmon.8').read_text()
    items = re.findall(r'^\.It (Fl .*)', text, re.M)
    return {'-' + name for item in items for name in re.findall(r'\bFl (-[a-z][a-z-]*)', item)}


def test_spelling(t):
    paths = [str(path) for path in (TOP / 'README.md', TOP / 'src', TOP / 'man', TOP / 'tests', TOP / 'contrib',
                                    TOP / 'docs') if path.exists()]
    told = subprocess.run(['codespell', '--ignore-words-list', WORDS, '--ignore-regex', r'\\[nrt]', '--skip', '*/corpus/*,*/__pycache__/*', *paths],
                          capture_output=True, text=True)
    equal((told.returncode, told.stdout), (0, ''), 'what codespell finds')


def test_pages_are_sound(t):
    check(PAGES, 'there are no manual pages')
    for page in PAGES:
        told = subprocess.run(['mandoc', '-Tlint', '-Wstyle', page], capture_output=True, text=True)
        complaints = [line for line in told.stdout.splitlines() if 'referenced manual not found' not in line]
        equal(complaints, [], f'what mandoc says about {page.name}')


def test_page_has_every_option(t):
    shown, described = options_of_help(), options_of_page()
    check(len(shown) > 30, f'--help shows {len(shown)} options')
    equal(sorted(shown - described), [], 'options that the manual page lacks')


def test_page_has_no_other_option(t):
    """An option that --help does not show has to be one that the program accepts all the same."""
    unknown = []
    for option in sorted(options_of_page() - options_of_help()):
        told = subprocess.run([CONMON, option, 'x', '--version'], capture_output=True, text=True)
        if told.returncode != 0:
            unknown.append(f'{option}: {told.stderr.strip()}')
    equal(unknown, [], 'options of the manual page that do not exist')


def drivers():
    told = subprocess.run([CONMON, '--log-driver', 'help'], capture_output=True, text=True, check=True).stdout
    return re.findall(r'^  ([a-z0-9-]+)', told, re.M)


def options_of_driver(name):
    told = subprocess.run([CONMON, '--log-driver', f'{name}:help'], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r'^  ([a-z0-9-]+)=', told, re.M))


def test_pages_have_every_log_option(t):
    """conmon-log-drivers(7) and conmon(8) describe each option of each driver, and no others."""
    text = ''.join((TOP / 'man' / page).read_text() for page in ('conmon-log-drivers.7', 'conmon.8'))
    items = ' '.join(re.findall(r'^\.It (Li [a-z].*)', text, re.M))
    described = set(re.findall(r'\b([a-z][a-z0-9-]*)=', items))
    names = drivers()
    check(len(names) > 8, f'--log-driver help shows {names}')
    known = set().union(*(options_of_driver(name) for name in names))
    equal(sorted(known - described), [], 'options of log drivers that the manual pages lack')
    equal(sorted(described - known), [], 'options of the manual pages that no log driver has')


def test_readme_links(t):
    """Files that the documents name exist."""
    for document in [TOP / 'README.md', *TOP.glob('src/README.md'), *TOP.glob('docs/**/*.md')]:
        links = re.findall(r'\]\((?!https?:|#)([^)#\s]+)', document.read_text())
        missing = [link for link in links if not (document.parent / link).exists()]
        equal(missing, [], f'links of {document.relative_to(TOP)} that lead nowhere')


def test_driver_example(t):
    """The log driver that src/README.md shows compiles against the headers as they are."""
    code = re.search(r'^```c\n(.*?)^```', (TOP / 'src/README.md').read_text(), re.S | re.M).group(1)
    flags = subprocess.run(['pkg-config', '--cflags', 'glib-2.0'], capture_output=True, text=True, check=True).stdout
    told = subprocess.run(['cc', '-std=gnu11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Wno-unused-parameter', '-Werror',
                           '-Wno-missing-field-initializers', f'-I{TOP}/src', *flags.split(), '-fsyntax-only', '-xc', '-'],
                          input=code, capture_output=True, text=True)
    equal((told.returncode, told.stderr), (0, ''), 'what the compiler says')


if __name__ == '__main__':
    main()

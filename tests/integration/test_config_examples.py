#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""The recipes of README.md and contrib/examples/receivers, without their receivers."""

import json
import os
import pathlib
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../lib'))
from harness import check, equal, main  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[2]
RECIPES = TOP / 'contrib/examples/receivers'
WITH_TLS = {'CONMON_TLS': '/x'}  # a build without TLS accepts it, too


def rows():
    """The page's table: (folder, driver, receiver's file, how it is tested)."""
    cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in (RECIPES / 'README.md').read_text().splitlines()
             if line.startswith('| [')]
    return [(re.match(r'\[(.*?)\]', row[0]).group(1), row[2], re.match(r'\[(.*?)\]', row[3]).group(1), row[4]) for row in cells]


def test_page(t):
    """The table lists exactly the existing folders, and names the tests that execute them."""
    equal(sorted(folder for folder, *_ in rows()), sorted(path.name for path in RECIPES.iterdir() if path.is_dir()))
    tests = '\n'.join(path.read_text() for path in TOP.glob('tests/interop/**/test_*examples.py'))
    for folder, _, file, how in rows():
        check((RECIPES / folder / file).exists(), f'{folder} has no {file}')
        equal(how == 'executed', f"'{folder}'" in tests, f'whether {folder} is executed by a test')


def test_check_config(t):
    """Each is accepted, and selects the driver named on the page for every container."""
    for folder, driver, *_ in rows():
        status, out, err = t.run('--check-config', RECIPES / folder / 'conmon.conf', env=WITH_TLS)
        equal(status, 0, f'status for {folder}: {err}')
        check(re.search(rf'(?m)^driver = {driver}\b', out), f'{folder} does not have the driver {driver}: {out}')
        errors = [line for line in err.splitlines() if not line.endswith("can't be read: No such file or directory")]
        equal(errors, [], f'messages for {folder}')


def test_readme(t):
    """Each recipe is a complete file that is accepted."""
    text = re.search(r'^## Three recipes\n(.*?)^## ', (TOP / 'README.md').read_text(), re.S | re.M).group(1)
    recipes = re.findall(r'(?:^    .*\n|^\n(?=    ))+', text, re.M)
    equal(len(recipes), 3, 'recipes')
    for number, recipe in enumerate(recipes):
        path = t.dir / f'{number}.conf'
        path.write_text(re.sub('(?m)^    ', '', recipe))
        status, out, err = t.run('--check-config', path, env=WITH_TLS)
        errors = [line for line in err.splitlines() if not line.endswith("can't be read: No such file or directory")]
        equal((status, errors), (0, []), recipe)
        check(re.search(r'(?m)^(profile = central|size-max = 10m)\b', out), f'{recipe} is not in force: {out}')


def test_files(t):
    """JSON files are valid."""
    for path in RECIPES.glob('*/*.json'):
        json.loads(path.read_text())


if __name__ == '__main__':
    main()

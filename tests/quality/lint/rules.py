# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Rules about the tree. Each has an example that violates it, which shows that the rule can fail."""

import fnmatch
import os
import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / 'tests/lib'))
from harness import check, equal, main  # noqa: E402

# Git's files and fuzz inputs are not checked.
NOT_READ = {'.git', '.cache', '__pycache__', 'corpus', 'golden', 'node_modules'}


class Tree:
    """The files in a directory, without build directories of any name."""

    def __init__(self, top):
        self.top, self.seen = pathlib.Path(top), 0

    def walk(self, *below):
        for start in below:
            for directory, names, files in os.walk(self.top / start):
                names[:] = sorted(name for name in names if name not in NOT_READ
                                  and not os.path.isdir(os.path.join(directory, name, 'meson-private')))
                yield from (pathlib.Path(directory) / name for name in sorted(files))

    def texts(self, *patterns, below=('',)):
        """(path, text) of the files whose names match one of the shell patterns, or of all text files."""
        for path in self.walk(*below):
            if patterns and not any(fnmatch.fnmatchcase(path.name, pattern) for pattern in patterns):
                continue
            try:
                text = path.read_text(encoding='utf-8')
            except UnicodeDecodeError:
                continue
            self.seen += 1
            yield path.relative_to(self.top), text

    def paths(self, *patterns, below=('',)):
        return [path for path, _ in self.texts(*patterns, below=below)]

    def read(self, name):
        self.seen += 1
        return (self.top / name).read_text(encoding='utf-8')


def rule(*examples):
    """Decorator for a function that takes a tree and returns violations. An example is a small tree with a
    violation, as {path: text}, or a function that returns one."""
    def mark(function):
        function.examples = examples
        return function
    return mark


def _holds(function):
    def test(t):
        tree = Tree(TOP)
        found = function(tree)
        check(tree.seen, 'the rule has checked no file')
        equal(found, [], function.__name__.replace('_', ' '))
    return test


def _finds(function):
    """Each example alone violates the rule."""
    def test(t):
        for number, example in enumerate(function.examples):
            example = example() if callable(example) else example
            for name, text in example.items():
                path = t.dir / f'tree-{number}' / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            check(function(Tree(t.dir / f'tree-{number}')), f'the rule finds no violation in {example}')
    return test


def numbered(lines):
    return enumerate(lines.split('\n'), 1)


def run(module):
    """Runs the rules of a module and its test functions."""
    tests = {name: function for name, function in module.items() if name.startswith('test_')}
    for name, function in module.items():
        examples = getattr(function, 'examples', None)
        if examples is not None:
            check(examples, f'{name} has no example')
            tests[name] = _holds(function)
            tests[f'{name}: can fail'] = _finds(function)
    main(tests)

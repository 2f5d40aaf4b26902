#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The conmon 3 authors

"""Python code: names are defined, and imports are explicit and used."""

import ast
import builtins
import http.client
import http.server
import symtable

from rules import rule, run

KNOWN = {*dir(builtins), '__file__', '__name__', '__doc__'}

# What the library's classes that tests derive from have, also only in their objects.
INHERITED = {*dir(http.client.HTTPConnection), *dir(http.server.BaseHTTPRequestHandler), 'rfile', 'wfile'}


def programs(tree):
    return tree.texts('*.py', below=('tests', 'contrib'))


def nodes_of(text, *kinds):
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, kinds or ast.AST)]


def bound(node):
    """The names that a node of the syntax tree binds."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split('.')[0] for alias in node.names}
    if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.ExceptHandler)):
        return {node.name}
    if isinstance(node, ast.arg):
        return {node.arg}
    return {node.id} if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load) else set()


def own_names(table):
    """The names that one scope defines."""
    return {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}


def undefined(table, known):
    """The global names that a scope or a nested one uses, and that the module does not define."""
    found = {s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()} - known
    return found.union(*(undefined(child, known) for child in table.get_children()))


@rule({'tests/a.py': 'def f(a):\n    return a + b\n\n\nclass C:\n    def b(self):\n        pass\n'})
def names_are_defined(tree):
    """With Python's scopes: methods and variables of other functions are not visible."""
    wrong = []
    for path, text in programs(tree):
        table = symtable.symtable(text, str(path), 'exec')
        wrong += [f'{path}: {name}' for name in sorted(undefined(table, KNOWN | own_names(table)))]
    return wrong


def defined(node):
    """The name of a function, class or member that a node of the syntax tree defines."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return node.name
    if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
        return node.attr
    return node.id if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load) else None


@rule({'tests/a.py': 'class C:\n    def f(self):\n        self.g()\n'})
def members_are_defined(tree):
    """Somewhere in the tests: a rename that forgets a call is found, although that call is rarely made."""
    texts = list(programs(tree))
    known = INHERITED | {defined(node) for _, text in texts for node in nodes_of(text)}
    return [f'{path}: self.{node.attr}' for path, text in texts for node in nodes_of(text, ast.Attribute)
            if isinstance(node.value, ast.Name) and node.value.id == 'self' and node.attr not in known]


@rule({'tests/a.py': 'from sys import *\n'})
def no_wildcard_imports(tree):
    return [f'{path}: {node.module}' for path, text in programs(tree) for node in nodes_of(text, ast.ImportFrom)
            if node.names[0].name == '*']


@rule({'tests/a.py': 'import os\nimport sys as s\nprint(os)\n'})
def imports_are_used(tree):
    """Except imports for side effects, which are marked with noqa: F401."""
    wrong = []
    for path, text in programs(tree):
        lines = text.split('\n')
        names = {name for node in nodes_of(text, ast.Import, ast.ImportFrom)
                 if path.name != '__init__.py' and 'noqa: F401' not in lines[node.lineno - 1] for name in bound(node)}
        wrong += [f'{path}: {name}' for name in sorted(names - {node.id for node in nodes_of(text, ast.Name)})]
    return wrong


if __name__ == '__main__':
    run(globals())

#!/bin/sh
# Prints the path of the interpreter to build with: a Python 3.13, the runtime of the functions, where one
# really works, else (unless called with --exact) another Python that is new enough.
#
# Each candidate is run before it is believed: pyenv puts a `python3.13` on PATH that fails unless that version is
# the selected one, and Debian's python3 has no ensurepip without python3-venv.
set -u

works() { # works <command> <minimum> <maximum>: prints the real path behind the command
    "$1" -c "
import ensurepip, sys, venv
if not ($2) <= sys.version_info[:2] <= ($3):
    sys.exit(1)
print(sys.executable)" 2>/dev/null
}

installed_by_pyenv() {
    prefix=$(pyenv prefix 3.13 2>/dev/null) && echo "$prefix/bin/python3.13"
    ls -d "${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}"/versions/3.13*/bin/python3.13 2>/dev/null
}

for candidate in ${PYTHON:-} python3.13 python3 $(installed_by_pyenv) /usr/local/bin/python3.13 /usr/bin/python3.13; do
    works "$candidate" "3, 13" "3, 13" && exit 0
done

if [ "${1:-}" = "--exact" ]; then
    echo "No Python 3.13 that runs was found. It is the runtime of the functions, so sam build needs it:" >&2
    echo "install it (pyenv install 3.13, your system's python3.13 with its venv module), or name it: make PYTHON=/path/to/python3.13" >&2
    exit 1
fi

for candidate in ${PYTHON:-} python3 python3.14 python3.12 python3.11 /usr/bin/python3; do
    works "$candidate" "3, 11" "3, 99" && exit 0
done

echo "No Python 3.11 or newer with its venv module was found. On Debian: apt-get install python3 python3-venv" >&2
exit 1

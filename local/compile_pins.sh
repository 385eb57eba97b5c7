#!/bin/sh
# Compiles pyproject.toml's dependencies and requirements/*.in to exact versions and the hashes of their files. The
# result names packages only, no index, so that it installs from whichever one pip is set up with.
set -eu
cd "$(dirname "$0")/../requirements"

python=$(../local/find_python.sh)
[ -x ../.venv-pins/bin/pip-compile ] || {
    "$python" -m venv ../.venv-pins
    ../.venv-pins/bin/python -m pip install --quiet pip-tools==7.6.2
}

compile() { # compile <name> <source> <result>
    ../.venv-pins/bin/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header \
        --annotation-style=line --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file "$3" "$2"
    { echo "# Compiled from $1 by \`make pins\`: edit that file, not this one."; grep -v '^$\|^# The following' "$3"; } > "$3.new"
    mv "$3.new" "$3"
}

compile pyproject.toml ../pyproject.toml ../layers/linking/requirements.txt
for source in *.in; do
    compile "requirements/$source" "$source" "${source%.in}.txt"
done

#!/bin/sh
# Compiles requirements/*.in to exact versions. The result names packages only, no index, so that it installs from
# whichever one pip is set up with.
set -eu
cd "$(dirname "$0")/../requirements"

python=$(../local/find_python.sh)
[ -x ../.venv-pins/bin/pip-compile ] || {
    "$python" -m venv ../.venv-pins
    ../.venv-pins/bin/python -m pip install --quiet pip-tools==7.6.2
}

compile() { # compile <source> <result>
    ../.venv-pins/bin/pip-compile --quiet --upgrade --allow-unsafe --strip-extras --no-header --annotation-style=line \
        --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file "$2" "$1"
    { echo "# Compiled from requirements/$1 by \`make pins\`: edit that file, not this one."; grep -v '^$\|^# The following' "$2"; } > "$2.new"
    mv "$2.new" "$2"
}

compile runtime.in ../layers/linking/requirements.txt
compile dev.in dev.txt
compile bench.in bench.txt
compile aws.in aws.txt
compile sam.in sam.txt

# Start run.py with a Python that is new enough, on a machine or in a container.
for python in "$SETUP_PYTHON" "python$PYTHON_VERSION" \
  python3.14 python3.13 python3.12 python3.11 python3 python; do
  if [ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
  then exec "$python" "$(dirname "$0")/run.py"
  fi
done
echo "::error::no Python 3.11 or newer was found on PATH in this container"
exit 2

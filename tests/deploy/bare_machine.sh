#!/bin/sh
# A newcomer's path: what README.md prints, on a Debian that has the packages which README.md names and no others, as a user
# who is not root and whose environment is empty. All tests and benches are among it: an hour and a half on two cores. Run it
# as root, on Linux:
#     tests/deploy/bare_machine.sh FOLDER [DIR…]
# FOLDER takes the bare system and pip's cache (8 GB), which serve again the next time; the project is cloned anew, as it was
# last committed. DIRs are seen in there as well, read-only: those that this machine's pip.conf names, if it names any.
set -eu
[ $# -ge 1 ] || { sed -n '2,7s/^# //p' "$0"; exit 2; }
[ "$(id -u)" = 0 ] || { echo "bare_machine.sh: changing the root directory takes root." >&2; exit 2; }
# Mounts are seen by this process and its children alone, and go with them; so do processes left behind.
[ "${BARE_MACHINE:-}" = alone ] || exec env BARE_MACHINE=alone unshare --mount --pid --fork "$0" "$@"
project=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
mkdir -p "$1"
place=$(CDPATH='' cd -- "$1" && pwd)
shift
root=$place/debian
home=/home/newcomer
packages=$(sed -n 's/.*Debian: `apt install \([^`]*\)`.*/\1/p' "$project/README.md")

if [ ! -e "$root/.complete" ]; then
    command -v debootstrap > /dev/null || { apt-get update && apt-get install --yes --no-install-recommends debootstrap; }
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
    chroot "$root" useradd --create-home --shell /bin/sh newcomer
    touch "$root/.complete"
fi

# The way to the package index is the machine's, not the newcomer's.
cp /etc/resolv.conf /etc/hosts "$root/etc/"
{ echo "[global]"; python3 -m pip config list | sed -n "s/^global\.\([^=]*\)='\(.*\)'$/\1 = \2/p"; } > "$root/etc/pip.conf"
for folder in /dev /sys; do mount --rbind "$folder" "$root$folder"; done
mount -t proc proc "$root/proc"
echo "Debian's packages:" $packages
# shellcheck disable=SC2086 # several words are several packages
DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install --quiet=2 --yes --no-install-recommends $packages
for folder; do
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
    mount -o remount,bind,ro "$root$folder"
done

rm -rf "$root$home/gliolake" "$root/data"
git clone --quiet "$project" "$root$home/gliolake"
mkdir "$root/data"
chroot "$root" chown -R newcomer: "$home" /data
chroot --userspec=newcomer "$root" env -i HOME="$home" USER=newcomer PATH=/usr/local/bin:/usr/bin:/bin \
    sh -c 'cd ~/gliolake && exec python3 tests/deploy/readme_commands.py'

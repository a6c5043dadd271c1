#!/bin/sh
# Process 1 of a guest. The kernel hands it QUORATE_DIR, the run's directory, which is the same on the host:
#   job.sh    what to run           modules   what to load first, one name a line; strict: its absence is an error
#   status    the job's exit status, written here               setup-error   why the job could not be started
dir=$QUORATE_DIR
PATH=$dir/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
cd /
ulimit -c 0

finish() {
	sync
	# The sysrq powers off at once; halt is for kernels without it.
	echo o >/proc/sysrq-trigger
	sleep 2
	halt -f -p
	exit 1 # panics, which ends the guest too
}
fail() {
	echo "$*" >"$dir/setup-error"
	finish
}

mount -t proc proc /proc || fail "cannot mount /proc"
mount -t sysfs sysfs /sys || fail "cannot mount /sys"
# Most kernels mount it by themselves.
[ -c /dev/null ] || mount -t devtmpfs dev /dev || fail "cannot mount /dev"
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run || fail "cannot mount /run"
mkdir -p /run/netns /run/lock
mount -t tmpfs -o mode=1777 tmpfs "$dir/tmp" || fail "cannot mount $dir/tmp"

# The modules lie outside of /lib/modules, so modprobe needs an option: in the environment when a program calls it, in a
# wrapper when the kernel does.
MODPROBE_OPTIONS="-d $dir/modroot"
export MODPROBE_OPTIONS
echo "$dir/bin/modprobe" >/proc/sys/kernel/modprobe
strict=
while read -r module; do
	case $module in
	strict) strict=1 ;;
	*) modprobe -q "$module" || [ -z "$strict" ] || fail "the guest's kernel has no module $module" ;;
	esac
done <"$dir/modules"

echo uml >/proc/sys/kernel/hostname
ip link set lo up || fail "cannot set lo up; is the Debian package iproute2 installed?"

# A terminal, but a program that writes to it must not notice: no editing of lines, and a pipe in between.
stty -F /dev/tty1 raw -echo || fail "cannot set the terminal of the job"
{
	timeout -k 5 "$QUORATE_TIMEOUT" /bin/sh "$dir/job.sh" </dev/null 2>&1
	echo $? >"$dir/status.new"
} | cat >/dev/tty1
mv "$dir/status.new" "$dir/status"
dmesg >"$dir/dmesg"
finish

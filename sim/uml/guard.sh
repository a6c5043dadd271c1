#!/bin/sh
# Runs a guest's kernel on the host: guard.sh DIRECTORY KERNEL ARGUMENT...
# Standard input is a pipe that ends when the process that wants the guest is gone, even by SIGKILL. Then nobody else
# would end the guest's processes, which do not die with the first of them, nor remove its directory.
dir=$1
shift
exec 9<&0 </dev/null
"$@" 9<&- &
uml=$!
# The kernel makes itself the leader of a session; a moment before that it is in this one's group.
end() {
	kill -s KILL -- "-$uml"
	kill -s KILL "$uml"
} 2>/dev/null
(
	exec >/dev/null 2>&1 3>&-
	read -r _ <&9
	end
	rm -rf "$dir"
) &
wait $uml
code=$?
# Processes of the guest are traced children of its kernel; none may be left.
end
exit $code

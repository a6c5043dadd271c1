package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"quorate/node"
	"quorate/vrrp"
)

// othersEvery is how often others are looked for: a package that is installed may start its daemon at once.
const othersEvery = 10 * time.Second

// others names the programs, apart from this one, that take part in VRRP on this host. It is posted when it has changed.
type others string

// entry is what is told of it. Two daemons on one host do not hear each other (a router does not want its own adverts back, so IP_MULTICAST_LOOP is off),
// and nothing on the wire says to either that it is not alone.
func (o others) entry() node.Entry {
	if o == "" {
		return node.Entry{Event: "vrrp.other-daemon", Detail: "no other program on this host takes part in VRRP any more"}
	}
	return node.Entry{Event: "vrrp.other-daemon", Warn: true, Detail: fmt.Sprintf(
		"%s takes part in VRRP on this host as well: neither hears the other, and of a virtual router that both run both are owner; stop one of them (systemctl disable --now NAME)", string(o))}
}

// watchOthers looks until ctx ends.
func watchOthers(ctx context.Context, post func(any)) {
	seen := others("")
	for tick := time.NewTicker(othersEvery); ; {
		if now := findOthers(); now != seen {
			seen = now
			post(now)
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

// findOthers reads who has raw sockets of VRRP's protocol in this network namespace.
func findOthers() others {
	sockets := map[string]bool{} // socket:[INODE], as /proc/PID/fd shows them
	for _, file := range []string{"/proc/self/net/raw", "/proc/self/net/raw6"} {
		text, _ := os.ReadFile(file)
		for line := range strings.Lines(string(text)) {
			if inode, ok := rawSocket(line); ok {
				sockets["socket:["+inode+"]"] = true
			}
		}
	}
	for link := range openFiles("self") {
		delete(sockets, link)
	}
	if len(sockets) == 0 {
		return ""
	}
	var found []string
	dirs, _ := os.ReadDir("/proc")
	for _, d := range dirs {
		if _, err := strconv.Atoi(d.Name()); err != nil {
			continue
		}
		for link := range openFiles(d.Name()) {
			if sockets[link] {
				name, _ := os.ReadFile(filepath.Join("/proc", d.Name(), "comm"))
				found = append(found, fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), d.Name()))
				break
			}
		}
	}
	if len(found) == 0 {
		return "a program of another container" // whose processes are not seen from here
	}
	slices.Sort(found)
	return others(strings.Join(found, ", "))
}

// rawSocket returns the inode of a line of /proc/net/raw whose port, the protocol, is VRRP's: "sl local:port remote:port st … inode …".
func rawSocket(line string) (inode string, ok bool) {
	f := strings.Fields(line)
	if len(f) < 10 {
		return "", false
	}
	_, port, _ := strings.Cut(f[1], ":")
	proto, err := strconv.ParseUint(port, 16, 16)
	return f[9], err == nil && proto == vrrp.ProtocolNumber
}

// openFiles are the targets of a process's descriptors.
func openFiles(pid string) map[string]bool {
	links := map[string]bool{}
	dir := filepath.Join("/proc", pid, "fd")
	fds, _ := os.ReadDir(dir)
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil {
			links[to] = true
		}
	}
	return links
}

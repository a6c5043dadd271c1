package host

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// iprouteDirs are where iproute2 keeps the names of tables, protocols, realms ..., the first that has one counts.
var iprouteDirs = []string{"/etc/iproute2", "/usr/share/iproute2", "/usr/lib/iproute2"}

// builtin are the names that need no file.
var builtin = map[string]map[string]uint32{
	"rt_tables": {"default": unix.RT_TABLE_DEFAULT, "main": unix.RT_TABLE_MAIN, "local": unix.RT_TABLE_LOCAL},
	"rt_protos": {"kernel": 2, "boot": 3, "static": 4, "keepalived": protocolKeepalived},
}

// protocolKeepalived marks routes and rules as keepalived's (rtnetlink(7), RTPROT_KEEPALIVED).
const protocolKeepalived = 18

// iprouteNumber translates a number, or a name of one of iproute2's files.
func iprouteNumber(file, word string) (uint32, error) {
	if n, err := strconv.ParseUint(word, 0, 32); err == nil {
		return uint32(n), nil
	}
	if n, ok := builtin[file][word]; ok {
		return n, nil
	}
	for _, dir := range iprouteDirs {
		paths, _ := filepath.Glob(filepath.Join(dir, file+".d", "*.conf"))
		for _, path := range append([]string{filepath.Join(dir, file)}, paths...) {
			if n, ok := lookUp(path, word); ok {
				return n, nil
			}
		}
	}
	return 0, fmt.Errorf("%q is no number, and no name in %s", word, filepath.Join(iprouteDirs[0], file))
}

// lookUp finds "NUMBER NAME" in a file.
func lookUp(path, name string) (uint32, bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		line, _, _ := strings.Cut(s.Text(), "#")
		w := strings.Fields(line)
		if len(w) < 2 || w[1] != name {
			continue
		}
		if n, err := strconv.ParseUint(w[0], 0, 32); err == nil {
			return uint32(n), true
		}
	}
	return 0, false
}

// realms translates TO or FROM/TO.
func realms(word string) (uint32, error) {
	from, to, two := strings.Cut(word, "/")
	if !two {
		from, to = "0", word
	}
	f, err := iprouteNumber("rt_realms", from)
	if err != nil {
		return 0, err
	}
	t, err := iprouteNumber("rt_realms", to)
	return f<<16 | t&0xffff, err
}

// tos translates a type of service: hexadecimal, or a name of rt_dsfield.
func tos(word string) (uint8, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(word, "0x"), 16, 8)
	if err == nil {
		return uint8(n), nil
	}
	named, err := iprouteNumber("rt_dsfield", word)
	return uint8(named), err
}

// interfaceIndex finds an interface.
func interfaceIndex(name string) (uint32, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, errNoInterface)
	}
	return uint32(i.Index), nil
}

// vrfTable is the routing table of a VRF.
func vrfTable(name string) (uint32, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("vrf %s: %w", name, err)
	}
	if v, ok := l.(*netlink.Vrf); ok {
		return v.Table, nil
	}
	return 0, fmt.Errorf("vrf %s: it is a %s", name, l.Type())
}

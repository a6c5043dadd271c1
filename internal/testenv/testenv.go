package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"quorate/sim/uml"
)

// debian maps a program to the Debian package that contains it, where the two names differ.
var debian = map[string]string{
	"arp":       "net-tools",
	"arping":    "iputils-arping",
	"bgpd":      "frr",
	"bridge":    "iproute2",
	"capinfos":  "wireshark-common",
	"editcap":   "wireshark-common",
	"ip":        "iproute2",
	"linux.uml": "user-mode-linux",
	"modprobe":  "kmod",
	"nc":        "netcat-openbsd",
	"nft":       "nftables",
	"nsenter":   "util-linux",
	"ping":      "iputils-ping",
	"snmpwalk":  "snmp",
	"ss":        "iproute2",
	"sysctl":    "procps",
	"tc":        "iproute2",
	"text2pcap": "wireshark-common",
	"unshare":   "util-linux",
	"vrrpd":     "frr",
	"vtysh":     "frr",
	"zebra":     "frr",
	"etcdctl":   "etcd-client",
	"etcd":      "etcd-server",
}

// sbin is where programs live that an ordinary user's PATH does not show.
var sbin = []string{"/usr/sbin", "/sbin", "/usr/lib/frr", "/usr/local/sbin"}

// Need skips the test (or fails it when CI=true) unless every one of the programs can be run.
// A tool is a name that is looked up in PATH, then in the sbin directories and FRR's.
func Need(t testing.TB, tools ...string) {
	t.Helper()
	var missing []string
	for _, tool := range tools {
		if _, ok := Find(tool); !ok {
			missing = append(missing, fmt.Sprintf("%s (Debian package %s)", tool, Package(tool)))
		}
	}
	if len(missing) > 0 {
		Missing(t, "needs "+strings.Join(missing, " and "))
	}
}

// NeedRoot skips the test (or fails it when CI=true) unless it runs as uid 0.
func NeedRoot(t testing.TB) {
	t.Helper()
	if uid := os.Geteuid(); uid != 0 {
		Missing(t, fmt.Sprintf("needs root, runs as uid %d", uid))
	}
}

// NeedUML skips the test (or fails it when CI=true) unless User Mode Linux can be started.
func NeedUML(t testing.TB) {
	t.Helper()
	if err := uml.Available(); err != nil {
		Missing(t, "needs User Mode Linux: "+err.Error())
	}
}

// Missing skips the test with the reason, or fails it when CI=true. Use it for a need that has no function of its own.
func Missing(t testing.TB, reason string) {
	t.Helper()
	if CI() {
		t.Fatalf("%s; with CI=true that is a failure, not a skip", reason)
	}
	t.Skip(reason)
}

// CI reports whether unmet needs are failures.
func CI() bool { return os.Getenv("CI") == "true" }

// Find returns the path of a program and whether it is there.
func Find(tool string) (string, bool) {
	if path, err := exec.LookPath(tool); err == nil {
		return path, true
	}
	for _, dir := range sbin {
		if path, err := exec.LookPath(dir + "/" + tool); err == nil {
			return path, true
		}
	}
	return "", false
}

// Package returns the Debian package that contains a program.
func Package(tool string) string {
	if p, ok := debian[tool]; ok {
		return p
	}
	return tool
}

package api

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"quorate/config"
)

// What a push asks every director: its interfaces, their networks, the programs it would run.
func TestCheckAsksTheHost(t *testing.T) {
	s := offlineServer(t, nil)
	s.cfg.Interfaces = func(string) (map[string][]netip.Prefix, error) {
		return map[string][]netip.Prefix{"eth0": {netip.MustParsePrefix("10.0.0.11/24")}}, nil
	}
	const good = "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 51\n priority 100\n virtual_ipaddress {\n  10.0.0.100\n }\n}\n"
	for _, c := range []struct {
		what, file, code string
		line             int
		severity         config.Severity
	}{
		{"nothing is wrong", good, "", 0, 0},
		{"no such interface", strings.Replace(good, "eth0", "eth9", 1), "no-such-interface", 2, config.Error},
		{"an address of another network", strings.Replace(good, "10.0.0.100", "10.0.9.100", 1), "address-off-subnet", 6, config.Info},
		{"no such script", strings.Replace(good, " priority", " notify /nowhere/n.sh\n priority", 1), "script-missing", 4, config.Warning},
	} {
		r := s.check(CheckRequest{Main: "k.conf", Files: map[string]string{"k.conf": c.file}})
		found := slices.ContainsFunc(r.Diagnostics, func(d config.Diagnostic) bool {
			return d.Code == c.code && d.Line == c.line && d.Severity == c.severity && slices.Equal(d.Nodes, []string{"d1"})
		})
		if c.code == "" && len(r.Diagnostics) > 0 || c.code != "" && !found {
			t.Errorf("%s: want %q on line %d, got\n%s", c.what, c.code, c.line, config.Diagnostics(r.Diagnostics).Text(nil))
		}
	}
}

package config

import (
	"net/netip"
	"testing"
)

func TestSubnets(t *testing.T) {
	on := map[string][]netip.Prefix{
		"eth0": {netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("fe80::1/64")},
		"eth1": {netip.MustParsePrefix("192.168.7.2/16"), netip.MustParsePrefix("2001:db8::1/64")},
		"eth2": nil,
	}
	for line, bad := range map[string]bool{
		"10.0.0.7":               false,
		"10.0.1.7":               true,
		"10.0.1.7/24":            false, // brings its network
		"192.168.9.9 dev eth1":   false,
		"10.0.0.7 dev eth1":      true,
		"10.9.9.9 dev eth2":      false, // nothing is known
		"10.9.9.9 dev eth9":      false,
		"2001:db8::7":            false, // eth0 has a link-local address only
		"2001:db8::7 dev eth1":   false,
		"2001:db8:1::7 dev eth1": true,
	} {
		cfg, ds := Parse("k", Files{"k": "vrrp_instance X {\n interface eth0\n virtual_router_id 7\n priority 100\n virtual_ipaddress {\n  " + line + "\n }\n}\n"}, Options{})
		if ds.Count(Error) > 0 {
			t.Fatal(ds.Text(nil))
		}
		found := Subnets(cfg, on)
		if (len(found) == 1) != bad || (bad && (found[0].Line != 6 || found[0].Code != "address-off-subnet")) {
			t.Errorf("%s: found %q", line, found.Text(nil))
		}
	}
}

package real

import (
	"net/netip"
	"slices"
	"testing"
)

// /proc/net/ip_vs as Linux 6.1 prints it.
func TestParseIPVS(t *testing.T) {
	const text = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A000064:0050 rr  
  -> 0A0000DE:0050      Route   3      0          12        
  -> 0A0000DD:0050      Route   0      1          0         
UDP  0A000064:0035 wlc persistent 30
`
	a := netip.MustParseAddr
	want := []weight{{a("10.0.0.100"), a("10.0.0.222"), 3}, {a("10.0.0.100"), a("10.0.0.221"), 0}}
	got, err := parseIPVS(text)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseIPVS("TCP  [fd00::1]:0050 rr\n"); err == nil {
		t.Error("an IPv6 service is read as IPv4")
	}
}

package kernel

import (
	"net/netip"
	"testing"
	"testing/quick"
	"time"
	"unsafe"

	"quorate/ipvs"
)

// TestLayout compares the sizes and offsets with those that gcc gives the structures of linux/ip_vs.h on 64-bit machines.
func TestLayout(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("figures are for 64-bit machines")
	}
	for _, c := range []struct {
		what      string
		got, want uintptr
	}{
		{"ip_vs_service_user", unsafe.Sizeof(soService{}), 44},
		{"ip_vs_dest_user", unsafe.Sizeof(soDest{}), 24},
		{"ip_vs_service_user, ip_vs_dest_user", unsafe.Sizeof(soServiceDest{}), 68},
		{"ip_vs_stats_user", unsafe.Sizeof(soStats{}), 56},
		{"ip_vs_service_entry", unsafe.Sizeof(soServiceEntry{}), 104},
		{"ip_vs_service_entry.num_dests", unsafe.Offsetof(soServiceEntry{}.dests), 44},
		{"ip_vs_service_entry.stats", unsafe.Offsetof(soServiceEntry{}.stats), 48},
		{"ip_vs_dest_entry", unsafe.Sizeof(soDestEntry{}), 96},
		{"ip_vs_dest_entry.activeconns", unsafe.Offsetof(soDestEntry{}.active), 24},
		{"ip_vs_dest_entry.stats", unsafe.Offsetof(soDestEntry{}.stats), 40},
		{"ip_vs_getinfo", unsafe.Sizeof(soInfo{}), 12},
		{"ip_vs_get_services", unsafe.Sizeof(soGetServices{}), 8},
		{"ip_vs_get_dests", unsafe.Sizeof(soGetDests{}), 24},
		{"ip_vs_get_dests.num_dests", unsafe.Offsetof(soGetDests{}.count), 16},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.what, c.got, c.want)
		}
	}
}

// TestServiceRoundTrip proves that both interfaces' forms of a service carry all of it.
func TestServiceRoundTrip(t *testing.T) {
	err := quick.Check(func(addr [4]byte, port uint16, mark uint32, seconds uint16, bits uint8, flags uint32) bool {
		s := ipvs.Service{
			Key:       ipvs.Key{Protocol: ipvs.UDP, Addr: netip.AddrFrom4(addr), Port: port},
			Scheduler: "abcdefghijklmno",
			Flags:     ipvs.Flags(flags) & ipvs.AllFlags,
		}
		if mark%2 == 1 {
			s.Key = ipvs.Key{FWMark: mark}
		}
		if seconds%2 == 1 {
			s.Persistence = time.Duration(seconds) * time.Second
			s.Netmask = ipvs.Mask(int(bits%32), false)
		}
		netlink := fromService(toService(s))
		option := fromSoService(&soServiceEntry{soService: toSoService(s)})
		return netlink == s && option == s
	}, nil)
	if err != nil {
		t.Error(err)
	}
}

// TestDestinationRoundTrip proves the same of a destination.
func TestDestinationRoundTrip(t *testing.T) {
	err := quick.Check(func(addr [4]byte, port, weight uint16, forward uint8, upper, lower uint32) bool {
		d := ipvs.Destination{
			Addr: netip.AddrFrom4(addr), Port: port, Weight: int(weight), Forward: ipvs.Forward(forward%3 + 1),
			UpperThreshold: upper, LowerThreshold: lower,
		}
		return fromDestination(toDestination(d)) == d && fromSoDest(&soDestEntry{soDest: toSoDest(d)}) == d
	}, nil)
	if err != nil {
		t.Error(err)
	}
}

// TestIPv6RoundTrip covers what only netlink carries.
func TestIPv6RoundTrip(t *testing.T) {
	for _, s := range []ipvs.Service{
		{Key: ipvs.Key{Protocol: ipvs.TCP, Addr: netip.MustParseAddr("fd00::1"), Port: 80}, Scheduler: "rr"},
		{Key: ipvs.Key{FWMark: 7, Addr: netip.IPv6Unspecified()}, Scheduler: "rr", Persistence: time.Minute, Netmask: ipvs.Mask(64, true)},
	} {
		if got := fromService(toService(s)); got != s {
			t.Errorf("got %s, want %s", got, s)
		}
	}
}

// TestMissingText shows that an operator is told what to do.
func TestMissingText(t *testing.T) {
	const want = `the kernel has no IPVS: run "modprobe ip_vs", or install a kernel with CONFIG_IP_VS`
	if got := ErrMissing.Error(); got != want {
		t.Errorf("got %q", got)
	}
}

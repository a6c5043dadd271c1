package ipvs_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"quorate/ipvs"
	"quorate/ipvs/ipvstest"
)

// tables generates valid tables over so few keys and servers that two of them overlap.
func tables(t *rapid.T, label string) ipvs.Table {
	var table ipvs.Table
	for i, key := range []ipvs.Key{
		{Protocol: ipvs.TCP, Addr: netip.MustParseAddr("10.0.0.1"), Port: 80},
		{Protocol: ipvs.UDP, Addr: netip.MustParseAddr("10.0.0.1"), Port: 80},
		{Protocol: ipvs.TCP, Addr: netip.MustParseAddr("fd00::1"), Port: 80},
		{FWMark: 1},
		{FWMark: 1, Addr: netip.IPv6Unspecified()},
	} {
		if !rapid.Bool().Draw(t, fmt.Sprintf("%s service %d", label, i)) {
			continue
		}
		s := ipvs.Service{Key: key, Scheduler: rapid.SampledFrom([]string{"rr", "wlc", "sh"}).Draw(t, "scheduler")}
		s.Persistence = time.Duration(rapid.SampledFrom([]int{0, 60}).Draw(t, "persistence")) * time.Second
		if rapid.Bool().Draw(t, "mask") {
			s.Netmask = ipvs.Mask(rapid.IntRange(1, 32).Draw(t, "mask bits"), key.Is6())
		}
		if rapid.Bool().Draw(t, "flag") {
			s.Flags = ipvs.SchedPort
		}
		table = append(table, ipvs.Entry{Service: s, Destinations: destinations(t, key)})
	}
	return rapid.Permutation(table).Draw(t, label)
}

func destinations(t *rapid.T, key ipvs.Key) []ipvs.Destination {
	var list []ipvs.Destination
	for n := byte(1); n <= 4; n++ {
		if !rapid.Bool().Draw(t, "destination") {
			continue
		}
		d := ipvs.Destination{
			Addr:    netip.AddrFrom4([4]byte{10, 0, 1, n}),
			Port:    key.Port,
			Weight:  rapid.SampledFrom([]int{0, 1, ipvs.MaxWeight}).Draw(t, "weight"),
			Forward: rapid.SampledFrom([]ipvs.Forward{ipvs.NAT, ipvs.Direct, ipvs.Tunnel}).Draw(t, "forward"),
			// What the kernel counts must never look like a difference.
			ActiveConns: rapid.Uint32().Draw(t, "active"),
		}
		if key.Is6() {
			d.Addr = netip.AddrFrom16([16]byte{0: 0xfd, 15: n})
		}
		list = append(list, d)
	}
	return rapid.Permutation(list).Draw(t, "order")
}

// TestPlanReaches proves: the plan, carried out strictly, leads from any table to any other; then nothing is left to do;
// services that are neither wanted nor managed are as before; and no service that can serve before and after is
// without a usable destination in between.
func TestPlanReaches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		desired, actual := tables(t, "desired"), tables(t, "actual")
		var managed []ipvs.Key
		for i, e := range actual {
			if rapid.Bool().Draw(t, fmt.Sprintf("manages %d", i)) {
				managed = append(managed, e.Service.Key)
			}
		}
		if err := desired.Validate(); err != nil {
			t.Fatalf("the generator is wrong: %v", err)
		}
		want := expected(desired, actual, managed)

		m := ipvstest.New(actual)
		m.Strict = true
		for _, op := range ipvs.Plan(desired, actual, managed) {
			if err := m.Apply([]ipvs.Op{op}); err != nil {
				t.Fatal(err)
			}
			now, _ := m.Table()
			for _, e := range now {
				before, _ := actual.Get(e.Service.Key)
				after, _ := want.Get(e.Service.Key)
				if usable(before) && usable(after) && !usable(e) {
					t.Fatalf("after %s no usable destination is left", op)
				}
			}
		}
		now, _ := m.Table()
		if !now.Equal(want) {
			t.Fatalf("got\n%swant\n%s", now, want)
		}
		if again := ipvs.Plan(desired, now, managed); len(again) != 0 {
			t.Fatalf("second plan: %v", again)
		}
		if now.String() != want.String() {
			t.Fatalf("equal tables print differently:\n%s\n%s", now, want)
		}
	})
}

// TestTextRoundTrip proves that printing and parsing lose nothing that Plan can see.
func TestTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := tables(t, "table")
		back, err := ipvs.Parse(table.String())
		if err != nil {
			t.Fatal(err)
		}
		if !back.Equal(table) || !table.Equal(back) {
			t.Fatalf("printed\n%sread\n%s", table, back)
		}
	})
}

// expected says in the simplest way what the table should be afterwards.
func expected(desired, actual ipvs.Table, managed []ipvs.Key) ipvs.Table {
	want := desired.Clone()
	for _, e := range actual {
		_, wanted := desired.Get(e.Service.Key)
		ours := false
		for _, k := range managed {
			ours = ours || k.Compare(e.Service.Key) == 0
		}
		if !wanted && !ours {
			want = append(want, e)
		}
	}
	return want
}

func usable(e ipvs.Entry) bool {
	for _, d := range e.Destinations {
		if d.Weight > 0 {
			return true
		}
	}
	return false
}

func FuzzParse(f *testing.F) {
	f.Add("-A -t 192.168.2.240:80 -s wlc -p 60\n-a -t 192.168.2.240:80 -r 192.168.2.11:80 -g -w 3\n")
	f.Add("ipvsadm -A -f 7 -6 -s mh -p 50 -M 64 -b mh-port,flag-3\n")
	f.Add("-A -u [fd00::1]:53 -s rr -o\n-a -u [fd00::1]:53 -r [::ffff:10.0.0.1]:53 -i -w 0 -x 1 -y 1")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := ipvs.Parse(text)
		if err != nil || table.Validate() != nil {
			return
		}
		back, err := ipvs.Parse(table.String())
		if err != nil {
			t.Fatalf("%q is printed as %q: %v", text, table.String(), err)
		}
		if !back.Equal(table) {
			t.Fatalf("%q is printed as %q", text, table.String())
		}
	})
}

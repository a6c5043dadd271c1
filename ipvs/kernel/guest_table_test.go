package kernel

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"quorate/ipvs"
)

// rich has everything that IPv4 tables can have, as ipvsadm prints it, sorted.
const rich = `-A -t 192.168.2.240:0 -s rr -p 300
-A -t 192.168.2.240:80 -s wlc -p 60 -M 255.255.255.0
-a -t 192.168.2.240:80 -r 192.168.2.11:80 -g -w 3
-a -t 192.168.2.240:80 -r 192.168.2.12:80 -i -w 0
-a -t 192.168.2.240:80 -r 192.168.2.13:8080 -m -w 65535
-A -t 192.168.2.240:443 -s sh -b sh-fallback,sh-port
-A -u 192.168.2.241:53 -s rr -o
-a -u 192.168.2.241:53 -r 192.168.2.11:53 -g -w 1
-A --sctp-service 192.168.2.241:99 -s lc
-A -f 7 -s mh -p 50 -b mh-port
-a -f 7 -r 192.168.2.11:0 -g -w 1
`

// rich6 is what only netlink can do.
const rich6 = `-A -t [fd00::240]:80 -s rr -p 60 -M 64
-a -t [fd00::240]:80 -r [fd00::11]:80 -g -w 2
-A -f 7 -6 -s rr
-a -f 7 -6 -r [fd00::11]:0 -g -w 1
`

func testProgram(t *testing.T, b ipvs.Backend, is6 bool) {
	defer flush(t)
	text := rich
	if is6 {
		text += rich6
	}
	want := parse(t, text)
	if err := want.Validate(); err != nil {
		t.Fatal(err)
	}
	apply1(t, b, want)
	if got := ipvsadm(t, "-Sn"); got != want.String() {
		t.Errorf("ipvsadm says\n%swant\n%s", got, want)
	}
	if got := table(t, b); got.String() != want.String() {
		t.Errorf("the backend reads\n%swant\n%s", got, want)
	}
	if again := ipvs.Plan(want, table(t, b), nil); len(again) != 0 {
		t.Errorf("a second plan is %v", again)
	}
	list := ipvsadm(t, "-Ln")
	for _, line := range []string{
		"TCP  192.168.2.240:80 wlc persistent 60 mask 255.255.255.0",
		"-> 192.168.2.11:80              Route   3      0          0",
		"-> 192.168.2.12:80              Tunnel  0      0          0",
		"-> 192.168.2.13:8080            Masq    65535  0          0",
	} {
		if !strings.Contains(list, line) {
			t.Errorf("ipvsadm -Ln has no line %q:\n%s", line, list)
		}
	}
}

// testDrift proves that what others did to the table is repaired, and what is theirs stays.
func testDrift(t *testing.T, b ipvs.Backend) {
	defer flush(t)
	want := parse(t, rich)
	apply1(t, b, want)
	managed := []ipvs.Key{{FWMark: 99}}
	for _, e := range want {
		managed = append(managed, e.Service.Key)
	}
	for _, cmd := range []string{
		"-d -t 192.168.2.240:80 -r 192.168.2.11:80",
		"-e -t 192.168.2.240:80 -r 192.168.2.12:80 -g -w 9",
		"-a -t 192.168.2.240:80 -r 192.168.2.66:80 -g -w 1",
		"-E -t 192.168.2.240:80 -s rr",
		"-E -f 7 -s rr",
		"-D -u 192.168.2.241:53",
		"-A -f 99 -s rr",
		"-A -t 10.9.9.9:80 -s rr",
		"-a -t 10.9.9.9:80 -r 10.9.9.1:80 -m -w 1",
	} {
		ipvsadm(t, strings.Fields(cmd)...)
	}
	ops := ipvs.Plan(want, table(t, b), managed)
	if err := b.Apply(ops); err != nil {
		t.Fatal(err)
	}
	foreign := parse(t, "-A -t 10.9.9.9:80 -s rr\n-a -t 10.9.9.9:80 -r 10.9.9.1:80 -m -w 1")
	expect := append(foreign, want...)
	if got := ipvsadm(t, "-Sn"); got != expect.String() {
		t.Errorf("after %v\nipvsadm says\n%swant\n%s", ops, got, expect)
	}
	if len(ops) != 8 {
		t.Errorf("%d operations for 7 changes, of which one is a service with its destination: %v", len(ops), ops)
	}
}

// testTwice proves that operations whose effect is there succeed, and that an addition of what exists sets it.
func testTwice(t *testing.T, b ipvs.Backend) {
	defer flush(t)
	first := parse(t, "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 1")
	second := parse(t, "-A -t 10.0.0.1:80 -s wlc -p 9\n-a -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 5")
	apply1(t, b, first)
	if err := b.Apply(ipvs.Plan(second, nil, nil)); err != nil {
		t.Fatal(err)
	}
	if got := ipvsadm(t, "-Sn"); got != second.String() {
		t.Errorf("got\n%swant\n%s", got, second)
	}
	service, dest := second[0].Service, second[0].Destinations[0]
	delDest := ipvs.Op{Kind: ipvs.DeleteDestination, Service: service, Destination: dest}
	delService := ipvs.Op{Kind: ipvs.DeleteService, Service: service}
	if err := b.Apply([]ipvs.Op{delDest, delDest, delService, delService, delDest}); err != nil {
		t.Error(err)
	}
	if got := ipvsadm(t, "-Sn"); got != "" {
		t.Errorf("left:\n%s", got)
	}
}

func testErrors(t *testing.T, b ipvs.Backend) {
	defer flush(t)
	web := parse(t, "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 1")
	add := ipvs.Plan(web, nil, nil)
	unknown := add[0]
	unknown.Service.Scheduler = "nosuch"
	editService, editDest, heavy := add[0], add[1], add[1]
	editService.Kind, editDest.Kind = ipvs.EditService, ipvs.EditDestination
	heavy.Destination.Weight = 70000
	for _, c := range []struct {
		ops  []ipvs.Op
		want string
		is   error
		left string
	}{
		{[]ipvs.Op{unknown}, `ipvsadm -A -t 10.0.0.1:80 -s nosuch: the kernel has no scheduler "nosuch" (module ip_vs_nosuch)`, unix.ENOENT, ""},
		{[]ipvs.Op{editService}, "ipvsadm -E -t 10.0.0.1:80 -s rr: no such service", unix.ESRCH, ""},
		{[]ipvs.Op{add[1]}, "ipvsadm -a -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 1: no such service", unix.ESRCH, ""},
		{[]ipvs.Op{add[0], editDest, add[1]}, "ipvsadm -e -t 10.0.0.1:80 -r 10.0.0.11:80 -g -w 1: no such destination", unix.ENOENT, "-A -t 10.0.0.1:80 -s rr\n"},
		{[]ipvs.Op{add[0], heavy}, "weight 70000 is outside 0 to 65535", nil, "-A -t 10.0.0.1:80 -s rr\n"},
	} {
		flush(t)
		err := b.Apply(c.ops)
		var op *ipvs.OpError
		if !errors.As(err, &op) || !strings.Contains(err.Error(), c.want) || (c.is != nil && !errors.Is(err, c.is)) {
			t.Errorf("%v: got %v, want %s", c.ops, err, c.want)
		}
		if got := ipvsadm(t, "-Sn"); got != c.left {
			t.Errorf("%v: left\n%swant\n%s", c.ops, got, c.left)
		}
	}
}

// testMany proves that tables longer than a netlink message are read whole.
func testMany(t *testing.T, b ipvs.Backend) {
	defer flush(t)
	var text strings.Builder
	for s := range 60 {
		n := 1
		if s == 30 {
			n = 250
		}
		fmt.Fprintf(&text, "-A -t 10.0.0.1:%d -s rr\n", 1000+s)
		for d := range n {
			fmt.Fprintf(&text, "-a -t 10.0.0.1:%d -r 10.0.1.%d:%d -g -w %d\n", 1000+s, d+1, 1000+s, d)
		}
	}
	want := parse(t, text.String())
	apply1(t, b, want)
	if got := table(t, b); got.String() != want.String() {
		t.Errorf("got %d services, want %d", len(got), len(want))
	}
}

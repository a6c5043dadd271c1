package kernel

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"quorate/ipvs"
)

// testTraffic proves that the kernel does what was programmed: six connections go to two servers by their weights, are
// counted, and none goes to a server of weight 0, nor does the edit that drains it close what it has.
func testTraffic(t *testing.T, b ipvs.Backend) {
	defer flush(t)
	var servers []net.Listener
	for _, addr := range []string{"10.1.1.1", "10.1.1.11", "10.1.1.12"} {
		address(t, addr)
		if addr == "10.1.1.1" {
			continue
		}
		l, err := net.Listen("tcp", addr+":8080")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		servers = append(servers, l)
	}
	for _, l := range servers {
		go echoName(l)
	}
	const head = "-A -t 10.1.1.1:80 -s wrr\n"
	want := parse(t, head+"-a -t 10.1.1.1:80 -r 10.1.1.11:8080 -m -w 1\n-a -t 10.1.1.1:80 -r 10.1.1.12:8080 -m -w 2")
	apply1(t, b, want)
	var conns []net.Conn
	answers := map[string]int{}
	connect := func() {
		c, err := net.DialTimeout("tcp", "10.1.1.1:80", 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		answers[ask(t, c)]++
	}
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range 6 {
		connect()
	}
	if answers["10.1.1.11:8080"] != 2 || answers["10.1.1.12:8080"] != 4 {
		t.Errorf("six connections went to %v", answers)
	}
	got := table(t, b)
	for i, active := range []uint32{2, 4} {
		if d := got[0].Destinations[i]; d.ActiveConns != active {
			t.Errorf("%s counts %d active connections, want %d", d.AddrPort(), d.ActiveConns, active)
		}
	}
	drained := parse(t, head+"-a -t 10.1.1.1:80 -r 10.1.1.11:8080 -m -w 1\n-a -t 10.1.1.1:80 -r 10.1.1.12:8080 -m -w 0")
	apply1(t, b, drained)
	for _, c := range conns {
		ask(t, c)
	}
	clear(answers)
	for range 3 {
		connect()
	}
	if answers["10.1.1.11:8080"] != 3 {
		t.Errorf("with one server drained, three connections went to %v", answers)
	}
}

// echoName answers every byte with the server's own address.
func echoName(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			for b := make([]byte, 1); ; {
				if _, err := c.Read(b); err != nil {
					return
				}
				if _, err := fmt.Fprintln(c, c.LocalAddr()); err != nil {
					return
				}
			}
		}()
	}
}

// ask returns the address of the server at the other end.
func ask(t *testing.T, c net.Conn) string {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte{'?'}); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// address gives lo one more address.
func address(t *testing.T, addr string) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	a, err := netlink.ParseAddr(addr + "/32")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrReplace(lo, a); err != nil {
		t.Fatal(err)
	}
}

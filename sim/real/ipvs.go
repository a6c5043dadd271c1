package real

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"quorate/sim"
)

// weights is a director's IPVS table as far as it is judged: the weights of each real server.
type weights struct {
	at   time.Duration
	list []weight
}

type weight struct {
	vip, server netip.Addr
	weight      int
}

// readIPVS reads the table of a host's kernel.
func (h *host) readIPVS() (list []weight, err error) {
	text, err := h.IPVS()
	if err != nil {
		return nil, err
	}
	return parseIPVS(text)
}

// parseIPVS reads the file: "TCP  0A000064:0050 rr" and below it "  -> 0A0000DD:0050      Route   3      0          0".
func parseIPVS(text string) (list []weight, err error) {
	var vip netip.Addr
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) >= 3 && slices.Contains([]string{"TCP", "UDP", "SCTP"}, f[0]):
			if vip, err = hexAddr(f[1]); err != nil {
				return nil, err
			}
		case len(f) >= 4 && f[0] == "->" && !strings.HasPrefix(f[1], "RemoteAddress"):
			server, err := hexAddr(f[1])
			if err != nil {
				return nil, err
			}
			n, err := strconv.Atoi(f[3])
			if err != nil {
				return nil, fmt.Errorf("%s: weight %q: %w", ipvsFile, f[3], err)
			}
			list = append(list, weight{vip, server, n})
		}
	}
	return list, lines.Err()
}

// hexAddr reads 0A000064:0050.
func hexAddr(text string) (netip.Addr, error) {
	addr, _, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(addr)
	if err != nil || len(b) != 4 {
		return netip.Addr{}, fmt.Errorf("%s: %q is no IPv4 address", ipvsFile, text)
	}
	return netip.AddrFrom4([4]byte(b)), nil
}

// sampleEvery is how often tables are looked at while time passes.
const sampleEvery = 50 * time.Millisecond

// sample writes down how the tables have changed.
func (s *stage) sample() {
	if !s.ipvs || s.fabric.now()-s.sampled < sampleEvery {
		return
	}
	s.sampled = s.fabric.now()
	for _, h := range s.hosts {
		if !h.director || h.daemon == nil {
			continue
		}
		list, err := h.readIPVS()
		if n := len(h.tables); err == nil && (n == 0 || !slices.Equal(h.tables[n-1].list, list)) {
			h.tables = append(h.tables, weights{s.fabric.now(), list})
		}
	}
}

// expectServer: expect server=rs1 weight=3|none [node=d1] [vip=A] [within=15s], as in package sim.
func (s *stage) expectServer(opt map[string]sim.Word) error {
	h, err := s.host(opt["server"].Value)
	if err != nil {
		return err
	}
	want := -1
	if text := opt["weight"].Value; text != "none" {
		if want, err = strconv.Atoi(text); err != nil {
			return err
		}
	}
	within, err := bound(opt, "within")
	if err != nil {
		return err
	}
	s.sampled = -time.Hour
	s.sample()
	some := false
	for _, d := range s.hosts {
		if node, ok := opt["node"]; !d.director || ok && node.Value != d.name || !ok && (d.daemon == nil || d.paused) {
			continue
		}
		some = true
		var since time.Duration
		for i, t := range slices.Backward(d.tables) {
			var got []int
			for _, w := range t.list {
				if v, ok := opt["vip"]; w.server == h.cards[0].base.Addr() && (!ok || v.Value == w.vip.String()) {
					got = append(got, w.weight)
				}
			}
			holds := len(got) == 0 && want < 0 || len(got) > 0 && want >= 0 && !slices.ContainsFunc(got, func(n int) bool { return n != want })
			if !holds && i == len(d.tables)-1 {
				return failed("%s has %s with weights %v, not weight=%s", d.name, h.name, got, opt["weight"].Value)
			}
			if !holds {
				break
			}
			since = t.at
		}
		if len(d.tables) == 0 && want >= 0 {
			return failed("%s has no table", d.name)
		}
		if took := since - s.mark; within > 0 && took > s.slack(within) {
			return failed("%s has %s with weight %s %v after the last fault: later than within=%v, with slack", d.name, h.name, opt["weight"].Value, took.Round(time.Millisecond), within)
		}
	}
	if !some {
		return failed("no daemon runs")
	}
	return nil
}

// expectLost: expect client=c1 lost<=3, widened as times are: by a fifth and what a client asks in the slack.
func (s *stage) expectLost(l *load, o sim.Word) error {
	n, err := strconv.Atoi(o.Value)
	if err != nil {
		return err
	}
	if l.port == 0 {
		return errors.New("lost counts connections: load with a port")
	}
	allow := func(n int) int {
		if n == 0 && s.p.Slack < 500*time.Millisecond {
			return 0
		}
		return n + n/5 + int(s.slack(0)/l.every)
	}
	if o.Op == ">=" && allow(l.lost) < n || o.Op != ">=" && l.lost > allow(n) {
		return failed("%d connections to %v were lost since the last fault, not lost%s%s, with slack: %v", l.lost, l.vip, o.Op, o.Value, l.reasons)
	}
	return nil
}

package real

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"quorate/sim"
	"quorate/sim/wire"
)

func failed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", sim.ErrExpect, fmt.Sprintf(format, args...))
}

// patience is how long an expectation may take to become true: what the kernels and processes need to do
// what they have decided already. A slow machine has its slack.
const patience = 200 * time.Millisecond

// expect judges a claim, again and again for a moment.
func (s *stage) expect(args []sim.Word, _ string) error {
	opt := map[string]sim.Word{}
	for _, a := range args {
		opt[a.Key] = a
	}
	var f func(map[string]sim.Word) error
	switch {
	case opt["owner"].Op != "" || opt["owners"].Op != "":
		f = s.expectOwner
	case opt["server"].Op != "" && !s.ipvs, opt["client"].Op != "" && !s.ipvs && s.connects(opt["client"].Value):
		s.missed++
		return nil
	case opt["server"].Op != "":
		f = s.expectServer
	case opt["client"].Op != "":
		f = s.expectClient
	case opt["adverts"].Op != "":
		f = s.expectAdverts
	case opt["event"].Op != "":
		f = s.expectEvent
	case opt["rejected"].Op != "":
		f = s.expectRejected
	case opt["generation"].Op != "":
		f = s.expectGeneration
	default:
		return skip{"expect " + args[0].Key + "=: not judged on real kernels"}
	}
	for over := s.patient(); ; time.Sleep(10 * time.Millisecond) {
		s.judge()
		if err := s.settle(); err != nil {
			return err
		}
		err := f(opt)
		if err == nil || !errors.Is(err, sim.ErrExpect) || over() {
			return err
		}
	}
}

// patient returns what says whether there has been time enough for something to come true. How long clusterctl needs for a push that is
// on its way is not the scenario's time.
func (s *stage) patient() (over func() bool) {
	began := time.Now()
	end := began.Add(max(patience, s.p.Slack))
	return func() bool {
		s.watch.Lock()
		pushing := s.onTheirWay > 0
		s.watch.Unlock()
		if pushing && time.Since(began) < pushWait {
			end = time.Now().Add(max(patience, s.p.Slack))
		}
		return time.Now().After(end)
	}
}

func (s *stage) vip(opt map[string]sim.Word) (netip.Addr, error) {
	if v, ok := opt["vip"]; ok {
		return netip.ParseAddr(v.Value)
	}
	if len(s.vips) != 1 {
		return netip.Addr{}, fmt.Errorf("expected vip= with one of %v", s.vips)
	}
	return s.vips[0], nil
}

func bound(opt map[string]sim.Word, key string) (time.Duration, error) {
	w, ok := opt[key]
	if !ok {
		return 0, nil
	}
	return time.ParseDuration(w.Value)
}

func (s *stage) expectOwner(opt map[string]sim.Word) error {
	vip, err := s.vip(opt)
	if err != nil {
		return err
	}
	within, err := bound(opt, "within")
	if err != nil {
		return err
	}
	want := opt["owner"]
	if want.Op == "" {
		want = opt["owners"]
	}
	holds := func(held []string) bool {
		held = slices.Sorted(slices.Values(held))
		return slices.ContainsFunc(strings.Split(want.Value, "|"), func(alternative string) bool {
			set := sim.Word{Value: alternative}.List()
			slices.Sort(set)
			return slices.Equal(held, set)
		})
	}
	if n, err := strconv.Atoi(want.Value); err == nil && want.Key == "owners" {
		holds = func(held []string) bool { return len(held) == n }
	}
	s.watch.Lock()
	defer s.watch.Unlock()
	since, held := s.watch.since(vip, holds)
	if !holds(held) {
		return failed("%v is held by %v now, not %s=%s", vip, held, want.Key, want.Value)
	}
	if took := since - s.mark; within > 0 && took > s.slack(within) {
		return failed("%v is held by %v since %v after the last fault: later than within=%v, with slack %v", vip, held, took.Round(time.Millisecond), within, s.slack(within))
	}
	return nil
}

func (s *stage) expectClient(opt map[string]sim.Word) error {
	h, err := s.host(opt["client"].Value)
	if err != nil {
		return err
	}
	s.watch.Lock()
	defer s.watch.Unlock()
	loads := h.loads
	if v, ok := opt["vip"]; ok {
		loads = slices.DeleteFunc(slices.Clone(loads), func(l *load) bool { return l.vip.String() != v.Value })
	}
	if len(loads) != 1 {
		return fmt.Errorf("%s asks %d VIPs, want one: name it with vip=", h.name, len(loads))
	}
	l, now := loads[0], s.fabric.now()
	if o, ok := opt["outage"]; ok {
		d, err := time.ParseDuration(o.Value)
		if err != nil {
			return err
		}
		got := l.outage(now)
		if o.Op == "<=" && got > s.slack(d) || o.Op == ">=" && s.slack(got) < d {
			return failed("%s was %v without an answer from %v, not outage%s%s, with slack", h.name, got.Round(time.Millisecond), l.vip, o.Op, o.Value)
		}
	}
	if o, ok := opt["lost"]; ok {
		if err := s.expectLost(l, o); err != nil {
			return err
		}
	}
	if v, ok := opt["served"]; ok && (!slices.Contains(strings.Split(v.Value, "|"), l.server) || now-l.last > s.slack(3*l.every)) {
		return failed("%s had its last answer from %s %v ago, not served=%s", h.name, l.server, (now - l.last).Round(time.Millisecond), v.Value)
	}
	return nil
}

func (s *stage) expectAdverts(opt map[string]sim.Word) error {
	limit, err := bound(opt, "gap")
	if err != nil {
		return err
	}
	s.watch.Lock()
	defer s.watch.Unlock()
	g := s.watch.adverts[opt["adverts"].Value]
	if g == nil {
		return failed("%s sends no adverts", opt["adverts"].Value)
	}
	gap := g.longest
	if g.active {
		gap = max(gap, s.fabric.now()-g.last)
	}
	if gap > s.slack(limit) {
		return failed("%s paused %v between adverts, not gap<=%v, with slack", opt["adverts"].Value, gap.Round(time.Millisecond), limit)
	}
	return nil
}

// logEntry is a line of clusterd's log.
type logEntry struct {
	Time   time.Time `json:"time"`
	Event  string    `json:"event"`
	From   string    `json:"from"`
	To     string    `json:"to"`
	Reason string    `json:"reason"`
	Detail string    `json:"detail"`
	Inst   string    `json:"instance"`
	Msg    string    `json:"msg"`
	Term   uint64    `json:"term"`
	Self   bool      `json:"self"`
	Part   string    `json:"part"`

	at time.Duration // after the start
}

// entering is what keepalived -D -l says of a transition.
var entering = regexp.MustCompile(`^(\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}): \(([^)]+)\) Entering (\w+) STATE`)

// events reads what a director has logged.
func (h *host) events() (list []logEntry, err error) {
	if h.log == nil {
		return nil, nil
	}
	f, err := os.Open(h.logPath())
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 0; lines.Scan(); n++ {
		var e logEntry
		if h.program == sim.FRR {
			if e, ok := frrEvent(lines.Text()); ok {
				e.at = h.log.when(n, e.Time)
				list = append(list, e)
			}
			continue
		}
		if h.program == sim.Keepalived {
			if m := entering.FindStringSubmatch(lines.Text()); m != nil {
				// It logs whole seconds of local time: the last instant of that one, so that nothing seems to be from before a fault.
				if at, err := time.ParseInLocation("Mon Jan _2 15:04:05 2006", m[1], time.Local); err == nil {
					at = at.Add(time.Second - 1)
					list = append(list, logEntry{at: h.log.when(n, at), Event: "vrrp." + strings.ToLower(m[3]), To: m[3], Inst: m[2]})
				}
			}
			continue
		}
		if json.Unmarshal(lines.Bytes(), &e) == nil && (e.Event != "" || e.Part == "store" && strings.HasPrefix(e.Msg, "cluster ")) {
			e.at = h.log.when(n, e.Time)
			list = append(list, e)
		}
	}
	return list, lines.Err()
}

func (s *stage) expectEvent(opt map[string]sim.Word) error {
	var n int
	var first time.Duration
	for _, h := range s.hosts {
		if node, ok := opt["node"]; !h.director || ok && node.Value != h.name {
			continue
		}
		if h.program != "" && opt["reason"].Op != "" {
			return skip{"expect event= reason=: " + h.name + " runs " + h.program + ", which gives no reasons"}
		}
		list, err := h.events()
		if err != nil {
			return err
		}
		for _, e := range list {
			at := e.at
			if e.Event != opt["event"].Value || at < s.begun || opt["reason"].Op != "" && e.Reason != opt["reason"].Value {
				continue
			}
			if n == 0 || at < first {
				first = at
			}
			n++
		}
	}
	count, given := opt["count"]
	want, err := 1, error(nil)
	if given {
		if want, err = strconv.Atoi(count.Value); err != nil {
			return err
		}
	}
	switch {
	case !given && n < 1, count.Op == ">=" && n < want, count.Op == "<=" && n > want, count.Op == "=" && n != want:
		return failed("%d events %s since the last fault, not count%s%d", n, opt["event"].Value, count.Op, want)
	}
	within, err := bound(opt, "within")
	if err != nil {
		return err
	}
	if within > 0 && n > 0 && !s.anyKeepalived() && first-s.mark > s.slack(within) {
		return failed("the first %s came %v after the last fault: later than within=%v, with slack", opt["event"].Value, first-s.mark, within)
	}
	return nil
}

// expectRejected looks into the log, which names a reason once a minute: how often is not judged here.
func (s *stage) expectRejected(opt map[string]sim.Word) error {
	h, err := s.host(opt["node"].Value)
	if err != nil {
		return err
	}
	if h.program != "" {
		return skip{"expect rejected=: " + h.name + " runs " + h.program + ", which does not count by reason"}
	}
	list, err := h.events()
	if err != nil {
		return err
	}
	seen := slices.ContainsFunc(list, func(e logEntry) bool { return e.Event == "vrrp.rejected" && e.Reason == opt["rejected"].Value })
	if none := opt["count"].Op == "=" && opt["count"].Value == "0"; seen == none {
		return failed("%s has rejected adverts for %s: %v", h.name, opt["rejected"].Value, seen)
	}
	return nil
}

func (s *stage) anyKeepalived() bool {
	return slices.ContainsFunc(s.hosts, func(h *host) bool { return h.program == sim.Keepalived })
}

// check judges S1 over the whole run and L1 now, on what kernels hold.
func (s *stage) check(args []sim.Word, _ string) error {
	violated, live := false, false
	for _, a := range args {
		violated = violated || a.Key == "violated"
		live = live || a.Key == "live"
	}
	for over := s.patient(); ; time.Sleep(10 * time.Millisecond) {
		s.judge()
		if err := s.settle(); err != nil {
			return err
		}
		wrong := append(s.liveness(), s.storeWrong()...)
		if !live {
			s.watch.Lock()
			wrong = append(wrong, s.watch.broken...)
			s.watch.Unlock()
		}
		if (len(wrong) > 0) == violated {
			return nil
		}
		if over() {
			if violated {
				return failed("nothing is violated")
			}
			return failed("%s", strings.Join(wrong, "; "))
		}
	}
}

// liveness is L1: every VIP that a working director in reach is configured for has one owner in reach of each client, and the
// client's neighbour entry points there.
func (s *stage) liveness() (wrong []string) {
	type question struct {
		vip    netip.Addr
		c      *host
		owners []*host
	}
	var ask []question
	s.fabric.mu.Lock()
	s.watch.Lock()
	for _, vip := range s.vips {
		for _, c := range s.hosts {
			if c.director || c.server {
				continue
			}
			q := question{vip: vip, c: c}
			candidates := false
			for _, h := range s.hosts {
				for lan, nic := range h.cards {
					if !s.hear(h, c, lan, wire.ClassICMP|wire.ClassARP) {
						continue
					}
					if s.watch.holds(h, nic, vip) {
						q.owners = append(q.owners, h)
					}
					candidates = candidates || h.director && h.daemon != nil && !h.paused && h.configured(vip, nic.name)
				}
			}
			switch {
			case len(q.owners) == 0 && candidates:
				wrong = append(wrong, fmt.Sprintf("nobody holds %v within reach of %s though directors are", vip, c.name))
			case len(q.owners) > 1:
				wrong = append(wrong, fmt.Sprintf("%v is held by %s and %s within reach of %s", vip, q.owners[0].name, q.owners[1].name, c.name))
			case len(q.owners) == 1:
				ask = append(ask, q)
			}
		}
	}
	s.watch.Unlock()
	s.fabric.mu.Unlock()
	for _, q := range ask {
		mac, known := q.c.neighbour(q.vip)
		s.watch.Lock()
		if known && s.byMAC(mac) != q.owners[0].name {
			wrong = append(wrong, fmt.Sprintf("%s holds %v, but the neighbour entry of %s points at %s", q.owners[0].name, q.vip, q.c.name, s.byMAC(mac)))
		}
		s.watch.Unlock()
	}
	return wrong
}

func (h *host) configured(vip netip.Addr, card string) bool {
	if h.conf == nil {
		return false
	}
	for _, i := range h.conf.Instances {
		if i.Interface.V != card {
			continue
		}
		for _, v := range slices.Concat(i.VIPs, i.ExcludedVIPs) {
			if v.Prefix.Addr() == vip {
				return true
			}
		}
	}
	return false
}

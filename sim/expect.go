package sim

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// query is the arguments of expect, by name.
type query struct {
	s    *Session
	args []arg
}

// take removes an argument.
func (q *query) take(key string) (arg, bool) {
	i := slices.IndexFunc(q.args, func(a arg) bool { return a.key == key })
	if i < 0 {
		return arg{}, false
	}
	a := q.args[i]
	q.args = slices.Delete(slices.Clone(q.args), i, i+1)
	return a, true
}

// rest reports an argument that was given twice.
func (q *query) rest() error {
	if len(q.args) > 0 {
		return unexpected(q.args[0])
	}
	return nil
}

func (q *query) node() (*Host, error) {
	a, ok := q.take("node")
	if !ok {
		return nil, nil
	}
	return q.s.host(a.val)
}

// within is the bound after the last fault verb, 0 for none.
func (q *query) within() (time.Duration, error) {
	a, ok := q.take("within")
	if !ok {
		return 0, nil
	}
	if a.op != "=" {
		return 0, unexpected(a)
	}
	return duration("within", a.val)
}

// vip is the VIP asked about; it need not be named if there is only one.
func (q *query) vip() (netip.Addr, error) {
	if a, ok := q.take("vip"); ok {
		vip, err := address(a.val)
		if err == nil && !slices.Contains(q.s.w.judge.vips, vip) {
			err = fmt.Errorf("no configuration has the VIP %v: expected one of %v", vip, q.s.w.judge.vips)
		}
		return vip, err
	}
	if vips := q.s.w.judge.vips; len(vips) != 1 {
		return netip.Addr{}, fmt.Errorf("expected vip= with one of %v", vips)
	}
	return q.s.w.judge.vips[0], nil
}

// bound is a comparison such as count>=2.
type bound struct {
	op   string
	text string
	n    int64
}

func (b bound) holds(n int64) bool {
	switch b.op {
	case "<=":
		return n <= b.n
	case ">=":
		return n >= b.n
	}
	return n == b.n
}

func failed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrExpect, fmt.Sprintf(format, args...))
}

func (s *Session) verbExpect(args []arg, _ string) (string, error) {
	q := &query{s: s, args: args}
	for _, kind := range []struct {
		key  string
		also string // the other arguments it takes
		run  func(*query, arg) (string, error)
	}{
		{"owner", "vip within", expectOwner},
		{"owners", "vip within", expectOwner},
		{"client", "vip outage served lost", expectClient},
		{"server", "node weight vip within", expectServer},
		{"event", "node reason count within", expectEvent},
		{"notify", "node count within", expectEvent},
		{"rejected", "node count", expectRejected},
		{"adverts", "gap", expectAdverts},
		{"generation", "node", expectGeneration},
	} {
		a, ok := q.take(kind.key)
		if !ok {
			continue
		}
		if a.op != "=" || a.val == "" {
			return "", fmt.Errorf("%s needs a value: %s=…", a.key, a.key)
		}
		for _, other := range q.args {
			if !slices.Contains(strings.Fields(kind.also), other.key) || other.op == "" {
				return "", unexpected(other)
			}
		}
		out, err := kind.run(q, a)
		if err != nil {
			return "", err
		}
		return out + "\n", q.rest()
	}
	return "", errors.New("expected one of owner= owners= client= server= event= notify= rejected= adverts= generation=")
}

// expectOwner: expect owner=d2 within=3.7s; expect owner=d1|d2; expect owners=0;
// expect vip=A owners=(d1,d2).
// It must hold now, and have held ever since mark+within at the latest.
func expectOwner(q *query, a arg) (string, error) {
	vip, err := q.vip()
	if err != nil {
		return "", err
	}
	within, err := q.within()
	if err != nil {
		return "", err
	}
	var holds func(held []string) bool
	if n, err := strconv.Atoi(a.val); err == nil && a.key == "owners" {
		holds = func(held []string) bool { return len(held) == n }
	} else {
		var sets [][]string
		for alternative := range strings.SplitSeq(a.val, "|") {
			want := splitList(alternative)
			for _, name := range want {
				if _, err := q.s.host(name); err != nil {
					return "", err
				}
			}
			slices.Sort(want)
			sets = append(sets, want)
		}
		holds = func(held []string) bool {
			held = slices.Sorted(slices.Values(held))
			return slices.ContainsFunc(sets, func(want []string) bool { return slices.Equal(held, want) })
		}
	}
	since, held := q.s.w.judge.since(vip, holds)
	if !holds(held) {
		return "", failed("%v is owned by %s now, not %s=%s", vip, ownersText(held), a.key, a.val)
	}
	took := since - q.s.mark
	if within > 0 && took > within {
		return "", failed("%v is owned by %s since %s, %s after the last fault: later than within=%v",
			vip, ownersText(held), stamp(since), seconds(took), within)
	}
	if took < 0 {
		return fmt.Sprintf("ok: %v is owned by %s all the while", vip, ownersText(held)), nil
	}
	return fmt.Sprintf("ok: %v is owned by %s since %s, %s after the fault", vip, ownersText(held), stamp(since), seconds(took)), nil
}

func ownersText(held []string) string {
	if len(held) == 0 {
		return "nobody"
	}
	return strings.Join(held, " and ")
}

// since returns who holds a VIP now and since when holds was true without a break.
func (j *judge) since(vip netip.Addr, holds func([]string) bool) (time.Duration, []string) {
	var since time.Duration
	var now []string
	first := true
	for i := len(j.history) - 1; i >= 0; i-- {
		h := j.history[i]
		if h.vip != vip {
			continue
		}
		if first {
			now, first = h.held, false
		}
		if !holds(h.held) {
			break
		}
		since = h.at
	}
	return since, now
}

// expectClient: expect client=c1 outage<=3.7s served=d2.
func expectClient(q *query, a arg) (string, error) {
	h, err := q.s.host(a.val)
	if err != nil {
		return "", err
	}
	var l *load
	if v, ok := q.take("vip"); ok {
		vip, err := address(v.val)
		if err != nil {
			return "", err
		}
		if i := slices.IndexFunc(h.loads, func(l *load) bool { return l.vip == vip }); i >= 0 {
			l = h.loads[i]
		}
	} else if len(h.loads) == 1 {
		l = h.loads[0]
	}
	if l == nil {
		return "", fmt.Errorf("%s asks %d VIPs: name one of them with vip=, after load", h.Name, len(h.loads))
	}
	var said []string
	for o, ok := q.take("outage"); ok; o, ok = q.take("outage") {
		d, err := duration("outage", o.val)
		if err != nil {
			return "", err
		}
		if b := (bound{op: o.op, n: int64(d)}); !b.holds(int64(l.outage())) {
			return "", failed("%s was %s without an answer from %v, not outage%s%s", h.Name, seconds(l.outage()), l.vip, o.op, o.val)
		}
		said = append(said, "longest outage "+seconds(l.outage()))
	}
	if o, ok := q.take("served"); ok {
		if !slices.Contains(strings.Split(o.val, "|"), l.server) || l.gapIsOutage(h.w.now-l.last) {
			return "", failed("%s had its last answer from %q %s ago, not served=%s", h.Name, l.server, seconds(h.w.now-l.last), o.val)
		}
		said = append(said, "served by "+l.server)
	}
	if o, ok := q.take("lost"); ok {
		if l.port == 0 {
			return "", fmt.Errorf("lost%s%s counts connections: load %s %v with a port", o.op, o.val, h.Name, l.vip)
		}
		n, err := number("lost", o.val, 1<<40)
		if err != nil {
			return "", err
		}
		if b := (bound{op: o.op, n: int64(n)}); !b.holds(int64(l.lostSince)) {
			return "", failed("%s lost %d connections to %v since the last fault, not lost%s%s%s", h.Name, l.lostSince, l.vip, o.op, o.val, l.why())
		}
		said = append(said, fmt.Sprintf("%d connections lost", l.lostSince))
	}
	if len(said) == 0 {
		return "", errors.New("client= needs outage<=…, outage>=…, lost<=… or served=…")
	}
	return "ok: " + strings.Join(said, ", "), nil
}

// expectEvent: expect event=vrrp.master node=d2 reason=priority_zero count=1 within=700ms.
// notify=MASTER counts runs of notify scripts. Events before the last fault verb do not count.
func expectEvent(q *query, a arg) (string, error) {
	node, err := q.node()
	if err != nil {
		return "", err
	}
	reason, withReason := q.take("reason")
	within, err := q.within()
	if err != nil {
		return "", err
	}
	want, err := q.count()
	if err != nil {
		return "", err
	}
	var n int64
	var first time.Duration
	for _, e := range q.s.w.journal[q.s.marked:] {
		match := e.Kind == EventReport && e.Entry.Event == a.val
		if a.key == "notify" {
			match = e.Kind == EventNotify && e.Entry.To == a.val
		}
		if !match || node != nil && e.Host != node.Name || withReason && e.Entry.Reason != reason.val {
			continue
		}
		if n == 0 {
			first = e.At
		}
		n++
	}
	if !want.holds(n) {
		return "", failed("%d events %s since the last fault, not count%s", n, a.val, want.text)
	}
	if within > 0 && n > 0 && first-q.s.mark > within {
		return "", failed("the first %s came %s after the last fault: later than within=%v", a.val, seconds(first-q.s.mark), within)
	}
	if n == 0 {
		return fmt.Sprintf("ok: no %s", a.val), nil
	}
	return fmt.Sprintf("ok: %d× %s, the first %s after the fault", n, a.val, seconds(first-q.s.mark)), nil
}

// count reads count=N, count>=N or count<=N; the default is at least one.
func (q *query) count() (bound, error) {
	a, ok := q.take("count")
	if !ok {
		return bound{op: ">=", n: 1, text: ">=1"}, nil
	}
	n, err := number("count", a.val, 1<<40)
	return bound{op: a.op, n: int64(n), text: a.op + a.val}, err
}

// expectRejected: expect rejected=addr_list node=d1 count>=10, since the daemon started.
func expectRejected(q *query, a arg) (string, error) {
	node, err := q.node()
	if err != nil {
		return "", err
	}
	if node == nil {
		return "", errors.New("rejected= needs node=")
	}
	if err := q.s.daemon(node); err != nil {
		return "", err
	}
	want, err := q.count()
	if err != nil {
		return "", err
	}
	var n uint64
	for _, st := range node.proc.m.Status() {
		n += st.Rejected[a.val]
	}
	if !want.holds(int64(n)) {
		return "", failed("%s has rejected %d adverts for %s, not count%s", node.Name, n, a.val, want.text)
	}
	return fmt.Sprintf("ok: %s has rejected %d for %s", node.Name, n, a.val), nil
}

// expectAdverts: expect adverts=d1 gap<=1s: d1 sends adverts now and since the last fault verb
// never paused longer.
func expectAdverts(q *query, a arg) (string, error) {
	h, err := q.s.host(a.val)
	if err != nil {
		return "", err
	}
	g, ok := q.take("gap")
	if !ok {
		return "", errors.New("adverts= needs gap<=…")
	}
	limit, err := duration("gap", g.val)
	if err != nil {
		return "", err
	}
	sending := false
	for _, st := range h.adverts {
		if !st.active {
			continue
		}
		sending = true
		gap := max(st.maxGap, h.w.now-st.last)
		if b := (bound{op: g.op, n: int64(limit)}); !b.holds(int64(gap)) {
			return "", failed("%s paused %s between adverts of VRID %d, not gap%s%s", h.Name, seconds(gap), st.vrid, g.op, g.val)
		}
	}
	if !sending {
		return "", failed("%s sends no adverts", h.Name)
	}
	return fmt.Sprintf("ok: %s advertises without a longer pause", h.Name), nil
}

// verbCheck judges now. "check violated" is for scenarios that show what plain VRRP cannot do,
// "check live" leaves S1 out, which a killed or paused daemon breaks.
func (s *Session) verbCheck(args []arg, _ string) (string, error) {
	var wantViolated, live bool
	for _, a := range args {
		switch a {
		case arg{key: "violated"}:
			wantViolated = true
		case arg{key: "live"}:
			live = true
		default:
			return "", unexpected(a)
		}
	}
	var lines []string
	ok := true
	if !live {
		line, good := s.w.judge.exclusive()
		lines, ok = append(lines, line), good
	}
	line, good := s.w.judge.lawful()
	lines, ok = append(lines, line), ok && good
	services, good := s.w.judge.balanced()
	lines, ok = append(lines, services...), ok && good
	if line, good := s.w.judge.together(); line != "" {
		lines, ok = append(lines, line), ok && good
	}
	more, good := s.w.judge.liveness()
	lines, ok = append(lines, more...), ok && good
	safe := true
	if s.w.members != nil {
		line, safe = s.w.judge.consistent()
		more, good = s.w.judge.agreed()
		lines, ok = append(append(lines, line), more...), ok && good
	}
	text := strings.Join(lines, "\n") + "\n"
	if ok == wantViolated || !safe { // nothing excuses a store that forgets
		return "", failed("%s", strings.TrimSuffix(text, "\n"))
	}
	return text, nil
}

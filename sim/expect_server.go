package sim

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"quorate/ipvs"
)

// expectServer: expect server=rs1 weight=3 [node=d1] [vip=10.0.0.100] [within=15s]. That is the weight it has in the kernel's
// table of that director, or of every one whose checker works; none: it is not in it. Like owner= it must hold now, and have held
// ever since mark+within at the latest.
func expectServer(q *query, a arg) (string, error) {
	h, err := q.s.host(a.val)
	if err != nil {
		return "", err
	}
	if !h.server {
		return "", fmt.Errorf("%s is no real server", h.Name)
	}
	w, ok := q.take("weight")
	if !ok || w.op != "=" {
		return "", errors.New("server= needs weight=N or weight=none")
	}
	want := -1
	if w.val != "none" {
		if want, err = strconv.Atoi(w.val); err != nil || want < 0 {
			return "", fmt.Errorf("weight %q: expected a number or none", w.val)
		}
	}
	var vip netip.Addr
	if v, ok := q.take("vip"); ok {
		if vip, err = address(v.val); err != nil {
			return "", err
		}
	}
	one, err := q.node()
	if err != nil {
		return "", err
	}
	within, err := q.within()
	if err != nil {
		return "", err
	}
	var names []string
	var latest time.Duration
	for _, d := range q.s.w.hosts {
		if one != nil && d != one || one == nil && (d.checks == nil || d.proc == nil || d.proc.paused) {
			continue
		}
		since, bad := d.weightSince(h, vip, want)
		if bad != "" {
			return "", failed("%s has %s with %s, not weight=%s", d.Name, h.Name, bad, w.val)
		}
		if took := since - q.s.mark; within > 0 && took > within {
			return "", failed("%s has %s with weight %s since %s, %s after the last fault: later than within=%v", d.Name, h.Name, w.val, stamp(since), seconds(took), within)
		}
		names, latest = append(names, d.Name), max(latest, since)
	}
	if len(names) == 0 {
		return "", failed("no checker works")
	}
	if took := latest - q.s.mark; took >= 0 {
		return fmt.Sprintf("ok: weight of %s is %s on %s, %s after the fault", h.Name, w.val, strings.Join(names, " "), seconds(took)), nil
	}
	return fmt.Sprintf("ok: weight of %s is %s on %s all the while", h.Name, w.val, strings.Join(names, " ")), nil
}

// weightSince returns since when a director's table has a real server with a weight, -1 for none; bad says what it has instead.
func (d *Host) weightSince(h *Host, vip netip.Addr, want int) (since time.Duration, bad string) {
	if d.lvs == nil {
		if want < 0 {
			return 0, ""
		}
		return 0, "no table at all"
	}
	for i, t := range slices.Backward(d.lvs.history) {
		list := t.weights(h, vip)
		holds := len(list) > 0 && !slices.ContainsFunc(list, func(n int) bool { return n != want })
		if want < 0 {
			holds = len(list) == 0
		}
		if !holds {
			if i == len(d.lvs.history)-1 {
				bad = "no weight"
				if len(list) > 0 {
					bad = fmt.Sprintf("weight %v", list)
				}
			}
			return since, bad
		}
		since = t.at
	}
	return since, ""
}

// weights are those of a real server in all services, or those of one VIP.
func (t tableAt) weights(h *Host, vip netip.Addr) (list []int) {
	for _, e := range t.table {
		if vip.IsValid() && e.Service.Addr != vip {
			continue
		}
		for _, d := range e.Destinations {
			if slices.ContainsFunc(h.nics, func(n *nic) bool { return n.base.Addr() == d.Addr }) {
				list = append(list, d.Weight)
			}
		}
	}
	return list
}

// showIPVS prints the kernels' tables with their connections.
func (w *World) showIPVS(b *strings.Builder) {
	for _, h := range w.hosts {
		if h.lvs == nil || !h.on {
			continue
		}
		for _, e := range h.lvs.table {
			fmt.Fprintf(b, "%s ipvsadm -A %s\n", h.Name, e.Service)
			for _, d := range e.Destinations {
				n := connCount{}
				if c := h.lvs.counts[destKey{e.Service.Key, d.AddrPort()}]; c != nil {
					n = *c
				}
				op := ipvs.Op{Kind: ipvs.AddDestination, Service: e.Service, Destination: d}
				fmt.Fprintf(b, "%s %s  active %d inactive %d\n", h.Name, op, n.active, n.inactive)
			}
		}
	}
}

package host

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"quorate/node"
)

// RunStandIn takes the place of a vrrp worker that crashes again and again, while the watchdog waits before it starts the next one. It
// knows no configuration, only what the worker noted in runDir. It sends nothing. As long as nobody else is owner the addresses stay where they are,
// since that is better than nowhere; when an advert for them is heard, another director has them and they are removed here.
func RunStandIn(ctx context.Context, runDir string, log *slog.Logger) error {
	nameProcess("clusterd: stand-in")
	mem, found, err := recollect(runDir)
	if err != nil {
		return err
	}
	defer mem.close()
	kernel, err := newAddresses()
	if err != nil {
		return err
	}
	defer kernel.Close()
	inbox := make(chan node.Heard, 64)
	news := func(v any) {
		if h, ok := v.(node.Heard); ok {
			select {
			case inbox <- h:
			default: // it is said again
			}
		}
	}
	var vips atomic.Pointer[map[netip.Addr]bool]
	vips.Store(&map[netip.Addr]bool{})
	listening := map[string]bool{}
	for _, h := range found.Held {
		if h.Static || listening[h.Interface] {
			continue
		}
		listening[h.Interface] = true
		i, err := net.InterfaceByName(h.Interface)
		if err == nil && len(i.HardwareAddr) == 6 {
			var m *monitor
			if m, err = openMonitor(i.Name, i.Index, [6]byte(i.HardwareAddr), &vips, news); err == nil {
				defer func() { _ = m.Close() }()
			}
		}
		if err != nil {
			log.Warn("nobody listens for another owner", "interface", h.Interface, "error", err)
		}
	}
	held := found.Held
	for {
		select {
		case <-ctx.Done():
			return nil
		case h := <-inbox:
			lost := func(k node.Held) bool { return takenOver(k, found.Held, h) }
			ops := removals(slices.DeleteFunc(slices.Clone(held), func(k node.Held) bool { return !lost(k) }))
			if len(ops) == 0 {
				continue
			}
			// The note comes last: this process is killed when the next worker starts, and what is forgotten nobody removes any more.
			err := kernel.RemoveAll(ops)
			if err == nil {
				held = slices.DeleteFunc(held, lost)
				err = mem.save(held)
			}
			if err != nil {
				log.Error("what another director owns now cannot be removed here", "error", err)
				continue
			}
			log.Warn(fmt.Sprintf("%s is owner of VRID %d on %s now: removed here, where no worker lives", h.Src, h.VRID, h.Interface),
				"event", "vrrp.stand-in", "removed", list(ops))
		}
	}
}

// RunRelease removes the addresses that a vrrp worker left when it died and no other can start, before the daemon ends: nobody would
// advertise them any more, and another director has them soon.
func RunRelease(runDir string, log *slog.Logger) error {
	mem, found, err := recollect(runDir)
	if err != nil {
		return err
	}
	defer mem.close()
	ops := removals(slices.DeleteFunc(found.Held, func(h node.Held) bool { return h.Static }))
	if len(ops) == 0 {
		return nil
	}
	kernel, err := newAddresses()
	if err != nil {
		return err
	}
	defer kernel.Close()
	log.Warn("removed, as no worker can start", "event", "vrrp.released", "removed", list(ops))
	if err := kernel.RemoveAll(ops); err != nil {
		return err
	}
	return mem.save(nil)
}

// takenOver says whether a sender of adverts has what a worker held: its virtual router, for one of its addresses. A stranger who
// uses the VRID for others takes nothing.
func takenOver(k node.Held, all []node.Held, h node.Heard) bool {
	ofRouter := func(o node.Held) bool {
		return !o.Static && o.Interface == h.Interface && o.VRID == int(h.VRID) && o.Instance == k.Instance
	}
	return ofRouter(k) && h.Priority > 0 && slices.ContainsFunc(all, func(o node.Held) bool {
		return ofRouter(o) && slices.Contains(h.VIPs, o.Address.Prefix.Addr())
	})
}

func list(ops []change) string {
	var what []string
	for _, op := range ops {
		what = append(what, op.what())
	}
	return strings.Join(what, ", ")
}

// removals are the changes that undo what was held: rules and routes first, as the worker does it.
func removals(held []node.Held) (ops []change) {
	for _, h := range held {
		if h.Rule != nil {
			ops = append(ops, ruleOp{remove: true, rule: *h.Rule})
		}
	}
	for _, h := range held {
		if h.Route != nil {
			ops = append(ops, routeOp{remove: true, route: *h.Route})
		}
	}
	for _, h := range held {
		if h.Rule != nil || h.Route != nil {
			continue
		}
		dev := cmp.Or(h.Dev, h.Address.Dev, h.Interface)
		if i, err := net.InterfaceByName(dev); err == nil {
			ops = append(ops, addressOp{remove: true, index: i.Index, dev: dev, addr: h.Address})
		}
	}
	return ops
}

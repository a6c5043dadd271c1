package node

import (
	"cmp"
	"slices"
	"time"

	"quorate/config"
	"quorate/vrrp"
)

// Recovered tells, before the first Configure, what the worker before this one held when it last lived. An instance
// that was MASTER less than a master-down interval ago goes on as MASTER; everything else is removed.
type Recovered struct {
	Alive time.Duration // instant at which it was last known to work
	Held  []Held
	// Untold are the instances and groups, as Notify.Subject names them, whose notify scripts had not ended when it died: they died with
	// it. An instance that goes on as MASTER runs them again; without that nobody would ever have been told.
	Untold []string
}

// Probation tells, before the first Configure, that workers before this one crashed one after the other. Until this one has lived for a
// while it takes no address from another owner: it would lose it at once, again and again.
type Probation struct{ For time.Duration }

func (Probation) event() {}

func (e *Elector) endProbation() {
	e.timer(e.now)
	e.onProbation = false
	for _, i := range e.instances {
		c := vrrpConfig(i.cfg, i.global, false)
		c.AltAddrs = i.alternates()
		i.step(e, vrrp.Reconfigure{Config: c})
	}
	e.report(Entry{Event: "vrrp.probation", Detail: "no crash for a while: priorities count again"})
}

// Held is something on the host that was added: an address, a route or a rule.
type Held struct {
	Instance  string         `json:"instance"`
	VRID      int            `json:"vrid"`
	Interface string         `json:"interface"`      // of the instance
	IPv6      bool           `json:"ipv6,omitempty"` // of the instance: one virtual_router_id may have an instance in each family
	Address   config.Address `json:"address"`
	Dev       string         `json:"dev,omitempty"`    // virtual interface the address is on; empty: as the address says
	Route     *config.Route  `json:"route,omitempty"`  // then Address is nothing
	Rule      *config.Rule   `json:"rule,omitempty"`   // then neither is
	Static    bool           `json:"static,omitempty"` // no instance's: of static_ipaddress, static_routes or static_rules
}

// path says that it is no address.
func (h Held) path() bool { return h.Route != nil || h.Rule != nil }

// leftStatic is what the worker before this one held of the static lines.
func (e *Elector) leftStatic() static {
	var left static
	for _, h := range e.recovered.Held {
		switch {
		case !h.Static:
		case h.path():
			left.take(h)
		default:
			left.addrs = append(left.addrs, h.Address)
		}
	}
	return left
}

// inherit gives every instance what it held before a crash, and removes what belongs to none. It
// happens once, with the first configuration.
func (e *Elector) inherit() {
	var nobodys paths
	var addrs []Held
	for _, h := range e.recovered.Held {
		at := slices.IndexFunc(e.instances, func(i *instance) bool {
			return i.cfg.Interface.V == h.Interface && i.cfg.VRID.V == h.VRID && i.is6() == h.IPv6
		})
		switch {
		case h.Static: // configureStatic had it
		case at >= 0 && h.path():
			e.instances[at].leftPaths.take(h)
			e.instances[at].inherited = true // there need not be an address
		case h.Dev != "" && (at < 0 || e.instances[at].dev(h.Address) != h.Dev), at >= 0 && h.Dev == "" && e.instances[at].onVMAC(h.Address):
			addrs = append(addrs, h) // it is somewhere else now
		case at >= 0:
			e.instances[at].leftover = append(e.instances[at].leftover, h.Address)
			e.instances[at].inherited = true
		case h.path():
			nobodys.take(h)
		default:
			addrs = append(addrs, h)
		}
	}
	nobodys.remove(e)
	for _, h := range addrs {
		dev := cmp.Or(h.Dev, h.Address.Dev, h.Interface)
		e.emit(RemoveAddress{Interface: dev, Address: h.Address})
	}
	e.recovered.Held = nil
}

// Held lists everything on the host that was added and that is to be removed one day.
func (e *Elector) Held() []Held {
	var all []Held
	for _, i := range e.instances {
		own := Held{Instance: i.cfg.Name, VRID: i.cfg.VRID.V, Interface: i.cfg.Interface.V, IPv6: i.is6()}
		for _, a := range slices.Concat(i.held, i.leftover) {
			h := own
			if h.Address = a; i.onVMAC(a) {
				h.Dev = i.dev(a)
			}
			all = append(all, h)
		}
		all = i.heldPaths.and(i.leftPaths).holding(all, own)
	}
	for _, a := range e.static.addrs {
		all = append(all, Held{Interface: a.Dev, Address: a, Static: true})
	}
	return e.static.holding(all, Held{Static: true})
}

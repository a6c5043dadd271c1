package node

import (
	"time"

	"quorate/config"
	"quorate/vrrp"
)

// Detail is an instance with everything that keepalived's dumps show of one.
type Detail struct {
	Config         *config.Instance
	Group          string // its vrrp_sync_group, empty if none
	Status         InstanceStatus
	Counters       vrrp.Counters
	Held           []config.Address // on the host
	VMAC           string           // its virtual interface, empty without use_vmac
	Devs           []string         // of each of its addresses, virtual_ipaddress first
	MasterDown     time.Duration    // master-down interval now in force
	MasterPriority uint8            // of the owner a backup hears, else 0
	MasterInterval time.Duration    // of the owner
	Changed        time.Duration    // instant of the last transition
	Faults         []vrrp.FaultCause
}

// Details lists all instances, in file order.
func (e *Elector) Details() []Detail {
	out := make([]Detail, 0, len(e.instances))
	for _, i := range e.instances {
		d := Detail{Config: i.cfg, Status: i.status(), Counters: i.m.Counters(), Held: i.held, MasterDown: i.m.MasterDownInterval(),
			MasterPriority: i.m.MasterPriority(), MasterInterval: i.m.MasterInterval(),
			Changed: i.changed, Faults: i.faults}
		d.VMAC = i.names.own
		for _, v := range i.all {
			dev := i.dev(v)
			if on := e.parent(dev); on != dev {
				dev += "@" + on // as ip-link(8) writes it
			}
			d.Devs = append(d.Devs, dev)
		}
		if i.group != nil {
			d.Group = i.group.cfg.Name
		}
		out = append(out, d)
	}
	return out
}

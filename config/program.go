package config

import "slices"

// Programs returns every program that the file names to be run, in file order: those of scripts, notifications, pipes and
// MISC_CHECKs. One that several lines name with the same user comes once. Services are included also after LintTree.
func (cfg *Config) Programs() []Command {
	var p programs
	g := &cfg.Global
	p.add(g.StartupScript, g.ShutdownScript, g.NotifyFifo.Script, g.VRRPNotifyFifo.Script, g.LVSNotifyFifo.Script)
	for _, s := range cfg.Scripts {
		p.add(&s.Command)
	}
	for _, s := range cfg.SyncGroups {
		p.add(s.NotifyMaster, s.NotifyBackup, s.NotifyFault, s.NotifyStop, s.Notify)
	}
	for _, i := range cfg.Instances {
		p.add(i.NotifyMaster, i.NotifyBackup, i.NotifyFault, i.NotifyStop, i.Notify, i.NotifyDeleted, i.NotifyMasterRxLowerPri)
	}
	for k := range cfg.services.list {
		p.add(&cfg.services.list[k])
	}
	slices.SortStableFunc(p.list, func(a, b Command) int { return comparePos(a.Pos, b.Pos) })
	return p.list
}

// programs is a list without repetitions.
type programs struct {
	list []Command
	seen map[[3]string]bool
}

func (p *programs) add(cmds ...*Command) {
	for _, c := range cmds {
		if c == nil || len(c.Argv) == 0 {
			continue
		}
		key := [3]string{c.Argv[0], c.User, c.Group}
		if p.seen[key] {
			continue
		}
		if p.seen == nil {
			p.seen = map[[3]string]bool{}
		}
		p.seen[key] = true
		p.list = append(p.list, *c)
	}
}

// addService adds the programs of a virtual_server that may not be kept.
func (p *programs) addService(v *VirtualServer) {
	p.add(v.QuorumUp, v.QuorumDown)
	for _, r := range v.RealServers {
		p.add(r.NotifyUp, r.NotifyDown)
		for _, k := range r.Checks {
			if k.Misc != nil {
				p.add(&k.Misc.Command)
			}
		}
	}
}

package config

import (
	"fmt"
	"net/netip"
)

// finish judges what needs the whole file.
func (c *ctx) finish() {
	for _, i := range c.cfg.Instances {
		c.finishInstance(i)
	}
	c.checkVRIDs()
	c.checkTracks()
	c.checkAddresses()
	c.checkPeers()
	c.checkServices()
	c.checkGroups()
	c.checkTrackers()
	c.checkTrackGroups()
	c.checkLinkDelays()
	c.checkVMACs()
}

// checkVMACs: of two virtual interfaces with one name the second gets the usual one (keepalived 2.2.7, measured).
func (c *ctx) checkVMACs() {
	seen := map[string]*Instance{}
	for _, i := range c.cfg.Instances {
		if i.UseVMAC == nil || i.UseVMAC.Name == "" {
			continue
		}
		if old := seen[i.UseVMAC.Name]; old != nil {
			c.warnf(i.UseVMAC.Pos, "duplicate-name", "use_vmac", "choose another name, or none", "vrrp_instance %s has a virtual interface %s already; this name is not used, as keepalived does", old.Name, i.UseVMAC.Name)
			i.UseVMAC.Name = ""
			continue
		}
		seen[i.UseVMAC.Name] = i
	}
}

// checkVRIDs: two virtual routers with one id on one network would answer each other.
func (c *ctx) checkVRIDs() {
	type key struct {
		iface   string
		id      int
		six     bool
		unicast bool // may share a number with a multicast router (keepalived 2.2.7, measured)
		src     netip.Addr
	}
	seen := map[key]*Instance{}
	for _, i := range c.cfg.Instances {
		if !i.VRID.Set || !i.Interface.Set {
			continue
		}
		k := key{i.Interface.V, i.VRID.V, i.Family.V == 6, len(i.UnicastPeers) > 0, i.UnicastSrcIP.V}
		if old := seen[k]; old != nil {
			c.errorf(i.VRID.Pos, "duplicate-vrid", "virtual_router_id", "choose another number from 1 to 255",
				"virtual_router_id %d on %s is already used by vrrp_instance %s at %s", i.VRID.V, i.Interface.V, old.Name, old.VRID.Pos)
			continue
		}
		seen[k] = i
	}
}

func (c *ctx) checkTracks() {
	index := map[string]int{}
	names := make([]string, 0, len(c.cfg.Scripts))
	for k, s := range c.cfg.Scripts {
		index[s.Name] = k
		names = append(names, s.Name)
	}
	used := map[string]bool{}
	resolve := func(owner string, list []Track) []Track {
		mine := map[string]bool{}
		kept := list[:0]
		for _, t := range list {
			k, ok := index[t.Name]
			if !ok {
				hint := "define it above: vrrp_script " + t.Name + " { script \"...\" }"
				if n, ok := nearest(t.Name, names); ok {
					hint = "did you mean " + n + "?"
				}
				c.errorf(t.Pos, "unknown-script", "track_script", hint, "there is no vrrp_script %q", shorten(t.Name))
				continue
			}
			if mine[t.Name] {
				c.warnf(t.Pos, "duplicate-name", "track_script", "delete one of the two", "%s tracks %q twice; this line is left out", owner, t.Name)
				continue
			}
			mine[t.Name], used[t.Name] = true, true
			if s := c.cfg.Scripts[k]; s.Pos.File == t.Pos.File && s.Pos.Line > t.Pos.Line {
				c.warnf(t.Pos, "defined-later", "track_script", "move the vrrp_script above its first use", "vrrp_script %q is defined below, at %s; keepalived would not find it", t.Name, s.Pos)
			}
			kept = append(kept, t)
		}
		return kept
	}
	for _, i := range c.cfg.Instances {
		i.TrackScripts = resolve("vrrp_instance "+i.Name, i.TrackScripts)
	}
	for _, g := range c.cfg.SyncGroups {
		g.TrackScripts = resolve("vrrp_sync_group "+g.Name, g.TrackScripts)
	}
	for _, s := range c.cfg.Scripts {
		if !used[s.Name] && len(c.cfg.Instances) > 0 {
			c.infof(s.Pos, "unused-script", "vrrp_script", "add it to a track_script block, or delete it", "vrrp_script %q is tracked by nobody and does not run", s.Name)
		}
	}
}

func (c *ctx) checkAddresses() {
	seen := map[netip.Addr]string{}
	for _, i := range c.cfg.Instances {
		for _, list := range [][]Address{i.VIPs, i.ExcludedVIPs} {
			for _, a := range list {
				if owner, ok := seen[a.Prefix.Addr()]; ok {
					c.warnf(a.Pos, "duplicate-address", "virtual_ipaddress", "let one instance own the address", "%s also belongs to %s", a.Prefix.Addr(), owner)
					continue
				}
				seen[a.Prefix.Addr()] = fmt.Sprintf("vrrp_instance %s at %s", i.Name, a.Pos)
			}
		}
	}
}

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
	c.checkVirtualServers()
}

// checkVRIDs: two virtual routers with one id on one network would answer each other.
func (c *ctx) checkVRIDs() {
	type key struct {
		iface string
		id    int
	}
	seen := map[key]*Instance{}
	for _, i := range c.cfg.Instances {
		if !i.VRID.Set || !i.Interface.Set {
			continue
		}
		k := key{i.Interface.V, i.VRID.V}
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
	for _, i := range c.cfg.Instances {
		mine := map[string]bool{}
		kept := i.TrackScripts[:0]
		for _, t := range i.TrackScripts {
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
				c.warnf(t.Pos, "duplicate-name", "track_script", "delete one of the two", "vrrp_instance %s tracks %q twice; this line is left out", i.Name, t.Name)
				continue
			}
			mine[t.Name], used[t.Name] = true, true
			if s := c.cfg.Scripts[k]; s.Pos.File == t.Pos.File && s.Pos.Line > t.Pos.Line {
				c.warnf(t.Pos, "defined-later", "track_script", "move the vrrp_script above its first use", "vrrp_script %q is defined below, at %s; keepalived would not find it", t.Name, s.Pos)
			}
			kept = append(kept, t)
		}
		i.TrackScripts = kept
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
	if len(c.cfg.Instances) == 0 {
		return // health checks alone: somebody else owns the addresses
	}
	for _, v := range c.cfg.VirtualServers {
		if _, ok := seen[v.Addr.V]; !ok {
			c.warnf(v.Addr.Pos, "address-not-owned", "virtual_server", "add it to virtual_ipaddress", "%s is in no virtual_ipaddress: nobody answers for it", v.Addr.V)
		}
	}
}

func (c *ctx) checkVirtualServers() {
	type key struct {
		addr     netip.Addr
		port     int
		protocol string
	}
	seen := map[key]*VirtualServer{}
	for _, v := range c.cfg.VirtualServers {
		k := key{v.Addr.V, v.Port.V, v.Protocol.V}
		if old := seen[k]; old != nil {
			c.errorf(v.Pos, "duplicate-name", "virtual_server", "put the real servers into one block", "virtual_server %s %s is already defined at %s", v, v.Protocol.V, old.Pos)
			continue
		}
		seen[k] = v
	}
}

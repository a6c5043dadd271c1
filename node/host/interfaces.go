package host

import (
	"errors"
	"fmt"

	"quorate/config"
	"quorate/node"
)

// refuseInterfaces refuses a configuration that brings in an interface this host does not have.
// One that was used before is none of its faults, and with dynamic_interfaces it may come later.
func refuseInterfaces(old, next *config.Config) error {
	if next.Global.DynamicInterfaces.V {
		return nil
	}
	before := map[string]bool{}
	for name := range usedInterfaces(old) {
		before[name] = true
	}
	used := usedInterfaces(next)
	var errs []error
	for _, name := range sortedKeys(used) {
		if !before[name] && !interfaceExists(name) {
			errs = append(errs, fmt.Errorf("%s: this host has no interface %q", used[name], name))
		}
	}
	return errors.Join(errs...)
}

// usedInterfaces are the names with a place where each is written.
func usedInterfaces(c *config.Config) map[string]config.Pos {
	out := map[string]config.Pos{}
	if c == nil {
		return out
	}
	for _, i := range c.Instances {
		out[i.Interface.V] = i.Interface.Pos
		for _, a := range append(append([]config.Address(nil), i.VIPs...), i.ExcludedVIPs...) {
			if a.Dev != "" {
				out[a.Dev] = a.Pos
			}
		}
		for _, r := range i.VirtualRoutes {
			if r.Dev != "" && !r.NoTrack {
				out[r.Dev] = r.Pos
			}
		}
		for _, t := range i.TrackIfaces {
			out[t.V] = t.Pos
		}
	}
	for _, a := range c.StaticAddresses {
		out[c.StaticDev(a)] = a.Pos
	}
	for _, v := range node.VirtualInterfaces(c) {
		delete(out, v.Name)
	}
	return out
}
